"""Graphs detect what mmdet's own `predict` detects, image by image; and which models have none."""

from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData

from brs_detr.data.calibration import Calibration
from brs_detr.engine.export.comparing import Batch, Difference, difference, predicted
from brs_detr.engine.export.graph import DetectionGraph
from brs_detr.engine.export.scores import PiecewiseLinear
from brs_detr.errors import InputError
from tests.engine.export.models import BRS_DETR, FASTER, batch, built, config_of

SIZE = 128, 160
CO_DINO = "configs/co_dino/co-dino_tiny_digits.py"
MODELS: list[tuple[str, dict[str, Any]]] = [
    (BRS_DETR, dict(model__query_nms=0.7, model__test_cfg__detr__nms=dict(type="nms", iou_threshold=0.7))),
    (BRS_DETR, dict(model__eval_module="one-stage")),
    (BRS_DETR, dict(model__eval_module="two-stage")),
    ("configs/co_detr/co-deformable-detr_tiny_digits.py", {}),
    (CO_DINO, dict(model__test_cfg__detr__nms__type="nms")),
    ("configs/dino/brs-dino-4scale_tiny_digits.py", {}),
    ("configs/atss/atss_tiny_digits.py", {}),
    ("configs/atss/brs-atss_tiny_digits.py", {}),
    ("configs/atss/atss_tiny_digits.py", dict(model__test_cfg__score_thr=0.02, model__test_cfg__min_bbox_size=40)),
    (FASTER, {}),
    (FASTER, dict(model__test_cfg__rcnn__score_thr=0.13)),  # which few detections pass
    ("configs/faster_rcnn/brs-faster-rcnn_tiny_digits.py", {}),
    ("configs/cascade_rcnn/cascade-rcnn_tiny_digits.py", {}),
    ("configs/mask_rcnn/brs-mask-rcnn_tiny_digits.py", {}),
]


def names(value: Any) -> str:
    return value.split("/")[-1].removesuffix("_tiny_digits.py") if isinstance(value, str) else ",".join(value)


def detected(graph: DetectionGraph, images: Batch) -> list[InstanceData]:
    with torch.no_grad():
        outputs = graph(*images)
    return [
        InstanceData(bboxes=boxes, scores=scores, labels=labels)[labels >= 0]
        for boxes, scores, labels in zip(*outputs, strict=True)
    ]


@pytest.mark.parametrize(("path", "options"), MODELS, ids=names)
def test_a_graph_detects_what_the_model_detects(path: str, options: dict[str, Any]) -> None:
    model, images = built(config_of(path, **options)), batch(SIZE, 3)
    expected, found = predicted(model, images), detected(DetectionGraph(model, SIZE), images)
    assert any(len(image) for image in expected)
    for pair in zip(expected, found, strict=True):
        assert len(pair[0]) == len(pair[1])
        apart = difference(*pair)
        assert apart.lacking == 0
        assert max(apart.boxes, apart.scores) < 1e-3


def test_what_is_no_detection_is_empty() -> None:
    model = built(config_of(FASTER, model__test_cfg__rcnn__score_thr=1.0))
    with torch.no_grad():
        boxes, scores, labels = DetectionGraph(model, SIZE, Calibration((0.2, 0.6), (0.3, 0.9), 0.5))(*batch(SIZE, 2))
    assert boxes.shape == (2, 100, 4)
    assert not boxes.any()
    assert not scores.any()
    assert (labels == -1).all()


def test_a_calibration_is_the_same_map() -> None:
    calibration = Calibration((0.1, 0.3, 0.35, 0.9), (0.05, 0.5, 0.52, 0.97), 0.5)
    scores = torch.cat([torch.linspace(0, 1, 1001), torch.tensor(calibration.scores)]).reshape(5, -1)
    torch.testing.assert_close(PiecewiseLinear(calibration)(scores), calibration(scores), atol=1e-6, rtol=0)


UNSUPPORTED = {
    "configs/paa/paa_tiny_digits.py": "PAAHead cannot be exported to ONNX: its predict_by_feat",
    "configs/ddq/ddq-detr-4scale_tiny_digits.py": "DDQDETR cannot be exported to ONNX: its pre_decoder",
    CO_DINO: "CoDINO cannot be exported to ONNX with soft_nms",
}


@pytest.mark.parametrize("path", UNSUPPORTED, ids=names)
def test_models_without_a_graph_are_named(path: str) -> None:
    with pytest.raises(InputError, match=UNSUPPORTED[path]):
        DetectionGraph(built(config_of(path)), SIZE)


def test_a_layer_that_onnx_lacks_is_named() -> None:
    model = built(config_of(FASTER, model__neck__conv_cfg=dict(type="DCNv2")))
    with pytest.raises(InputError, match="FasterRCNN cannot be exported to ONNX: ModulatedDeformConv2dPack"):
        DetectionGraph(model, SIZE)


@pytest.mark.parametrize("path", [BRS_DETR, "configs/dino/brs-dino-4scale_tiny_digits.py"], ids=names)
def test_an_input_too_small_for_the_queries(path: str) -> None:
    model = built(config_of(path))
    with pytest.raises(InputError, match="32x32 pixels gives 22 encoder proposals, fewer than the 60 queries"):
        DetectionGraph(model, (32, 32))(torch.zeros(1, 3, 32, 32), torch.tensor([[32, 32]]))


def instances(boxes: list[list[float]], scores: list[float], labels: list[int]) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor(boxes).reshape(-1, 4), scores=torch.tensor(scores), labels=torch.tensor(labels)
    )


def test_detections_are_compared_as_sets() -> None:
    one, two = [0.0, 0.0, 9.0, 9.0], [4.0, 0.0, 9.0, 8.0]
    wanted = instances([one, two], [0.5, 0.4], [1, 1])
    assert difference(wanted, instances([two, one], [0.4, 0.5], [1, 1]), 0.1) == Difference(0, 0, 2, 0)
    moved = difference(wanted, instances([[0.0, 0.0, 9.0, 9.05], two], [0.5, 0.4005], [1, 1]), 0.1)
    assert moved == (pytest.approx(0.05, rel=1e-3), pytest.approx(5e-4, rel=1e-3), 2, 0)
    assert difference(wanted, instances([one, two], [0.5, 0.4], [1, 2]), 0.1).lacking == 1
    assert difference(wanted, instances([one], [0.5], [1]), 0.1).lacking == 1
    assert difference(instances([one], [0.5], [1]), wanted, 0.1).lacking == 1
    assert difference(wanted, instances([], [], []), 0.1).lacking == 2
    nothing = difference(instances([], [], []), instances([], [], []), 0.1)
    assert nothing == Difference(0, 0, 0, 0)
    assert "could not be compared" in str(nothing)
