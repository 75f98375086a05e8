"""Each head of Co-DETR detects alone: as recorded, in every model, and from the command line's option."""

import copy
import itertools

import pytest
import torch
from mmengine.config import Config

from brs_detr.engine.launch import load_config
from brs_detr.errors import InputError
from tests.configs.test_configs import build_model
from tests.reference import ROOT, build, load_reader, needs_reference, recorded_batch, tiny_config
from tests.samples import make_batch

MODES = ("detr", "one-stage", "two-stage")
TINY = (
    "co_detr/co-deformable-detr_tiny_digits",
    "brs_detr/brs-detr_tiny_digits",
    "co_dino/co-dino_tiny_digits",
    "brs_dino/brs-dino_tiny_digits",
)


def path(name: str) -> str:
    return str(ROOT / "configs" / f"{name}.py")


@needs_reference
@pytest.mark.parametrize(("mode", "record"), [("one-stage", "atss_det"), ("two-stage", "roi_det")])
def test_detections_are_those_of_the_released_heads(mode: str, record: str) -> None:
    cfg = tiny_config("co_deformable_detr_r50")
    cfg.model.eval_module = mode
    model = build(cfg, load_reader().tiny_state()).eval()
    with torch.no_grad():
        predicted = model.predict(*recorded_batch(), rescale=False)
    arrays = load_reader().tiny_eval()
    for image, sample in enumerate(predicted):
        bboxes, found = torch.from_numpy(arrays[f"{record}.{image}.bboxes"]), sample.pred_instances
        torch.testing.assert_close(found.bboxes, bboxes[:, :4], rtol=0, atol=1e-3)  # of a pixel
        torch.testing.assert_close(found.scores, bboxes[:, 4], rtol=0, atol=1e-4)
        assert torch.equal(found.labels, torch.from_numpy(arrays[f"{record}.{image}.labels"]))


@pytest.mark.parametrize("name", TINY)
def test_every_mode_of_every_model(name: str) -> None:
    """Three heads, three different answers; boxes lie in the original image, best score first."""
    cfg = Config.fromfile(path(name))
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    batch = make_batch([2, 1], 10)
    for sample in batch["data_samples"]:
        height, width = sample.img_shape
        sample.set_metainfo(dict(ori_shape=(height // 2, width // 2), scale_factor=(2.0, 2.0)))
    scores = {}
    for mode in MODES:
        model.eval_module = mode
        with torch.no_grad():
            predicted = model.test_step(copy.deepcopy(batch))
        for sample in predicted:
            found, (height, width) = sample.pred_instances, sample.ori_shape
            assert 0 < len(found.bboxes) <= 100
            assert len(found.bboxes) == len(found.scores) == len(found.labels)
            assert (found.bboxes <= found.bboxes.new_tensor([width, height, width, height]) + 1e-3).all()
            assert torch.equal(found.scores, found.scores.sort(descending=True).values)
        scores[mode] = predicted[0].pred_instances.scores
    assert all(not torch.equal(scores[a][:5], scores[b][:5]) for a, b in itertools.combinations(MODES, 2))


def test_heads_alone_leave_the_decoder_out() -> None:
    model = build_model(Config.fromfile(path(TINY[3]))).eval()
    model.decoder = None
    for mode in MODES[1:]:
        model.eval_module = mode
        with torch.no_grad():
            assert len(model.test_step(make_batch([1], 10))) == 1


@pytest.mark.parametrize("head", ["rcnn", "atss"])
def test_soft_suppression_where_configured(head: str) -> None:
    """A soft method keeps boxes that the plain one removes, at lowered scores."""
    model = build_model(Config.fromfile(path(TINY[0]))).eval()
    model.eval_module = "two-stage" if head == "rcnn" else "one-stage"
    test_cfg = (model.roi_head if head == "rcnn" else model.atss_head).test_cfg
    test_cfg.max_per_img = 1000
    counts = []
    for nms in (dict(type="nms", iou_threshold=0.5), dict(type="soft_nms", iou_threshold=0.5, min_score=1e-6)):
        test_cfg.nms = nms
        with torch.no_grad():
            (sample,) = model.test_step(make_batch([1], 10))
        counts.append(len(sample.pred_instances.bboxes))
    assert counts[0] < counts[1]


def test_mode_is_an_option_of_the_command_line() -> None:
    cfg = load_config(path(TINY[3]), {"model.eval_module": "two-stage"}, None)
    assert build_model(cfg).eval_module == "two-stage"


def test_unknown_mode() -> None:
    cfg = load_config(path(TINY[0]), {"model.eval_module": "three-stage"}, None)
    with pytest.raises(InputError, match=r"model.eval_module is 'three-stage'.*detr, one-stage, two-stage"):
        build_model(cfg)
