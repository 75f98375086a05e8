"""What is recorded from random outputs: as many problems, positives and negatives as training poses."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from brs_detr.errors import InputError
from brs_detr.timing.recording import Case, RankingCall, count_logits
from brs_detr.timing.run import Settings, record_step
from tests.reference import ROOT

FINE = 16700 + 4200 + 1050 + 273  # locations in an image of 800 x 1333 pixels at strides 8 to 64
COARSE = 77  # at stride 128


def record(name: str, size: tuple[int, int] = (160, 160), images: int = 4) -> list[RankingCall | Case]:
    settings = Settings(images=images, image_size=size)
    return record_step(name, Config.fromfile(str(ROOT / name)), settings, torch.device("cpu")).calls


@pytest.fixture(scope="module")
def tiny() -> list[RankingCall]:
    return record("configs/brs_detr/brs-detr_tiny_digits.py")


def test_brs_detr_on_images_of_coco() -> None:
    calls = record("configs/brs_detr/brs-detr_r50_1x_coco.py", size=(800, 1333))
    problems = {(call.head, problem.layer): problem for call in calls for problem in call.problems}
    sizes = {place: len(problem.tensors[0]) for place, problem in problems.items()}
    assert sizes["bbox_head", "decoder layer 5"] == 4 * 300 * 80
    assert sizes["bbox_head", "encoder proposals"] == 4 * FINE * 80
    assert sizes["rpn_head", "RPN"] == 4 * (FINE + COARSE) * 9
    assert sizes["atss_head", "ATSS head"] == 4 * (FINE + COARSE) * 80
    assert sizes["roi_head.bbox_head", "RoI head"] == 4 * 1000 * 80
    objects = problems["bbox_head", "decoder layer 0"].positives
    assert 10 <= objects <= 80
    assert problems["bbox_head", "encoder proposals"].positives == objects
    assert 3 * objects < problems["atss_head", "ATSS head"].positives < 50 * objects
    assert objects / 2 < problems["rpn_head", "RPN"].positives < 50 * objects
    assert 5 * objects < problems["roi_head.bbox_head", "RoI head"].positives < 4 * 1000


def test_calls_as_training_makes_them(tiny: list[RankingCall]) -> None:
    assert all(isinstance(call, RankingCall) for call in tiny)
    assert [(call.head, len(call.problems), call.together) for call in tiny] == [
        ("rpn_head", 1, False),
        ("roi_head.bbox_head", 1, False),
        ("atss_head", 1, False),
        ("bbox_head", 7, True),
    ]


def test_targets_are_ious(tiny: list[RankingCall]) -> None:
    for problem in (problem for call in tiny for problem in call.problems):
        logits, targets = problem.tensors
        assert logits.shape == targets.shape
        assert targets.max() <= 1
        positives = targets[targets > 0]
        assert len(positives) == problem.positives > 0
        assert problem.negatives + problem.positives <= len(logits)
        assert len(positives.unique()) > 1


def test_auxiliary_queries_are_the_auxiliary_positives(tiny: list[RankingCall]) -> None:
    _, roi, atss, together = tiny
    for head, name in ((roi, "roi"), (atss, "atss")):
        queries = [problem for problem in together.problems if f"auxiliary queries ({name})" in problem.layer]
        assert len(queries) == 2
        assert {problem.positives for problem in queries} == {head.problems[0].positives}


def test_the_same_seed_gives_the_same_problems(tiny: list[RankingCall]) -> None:
    again = record("configs/brs_detr/brs-detr_tiny_digits.py")
    for call, other in zip(tiny, again, strict=True):
        for a, b in zip(call.problems, other.problems, strict=True):
            assert all(map(torch.equal, a.tensors, b.tensors))


def test_the_baseline_sees_the_same_objects(tiny: list[RankingCall]) -> None:
    baseline = record("configs/co_detr/co-deformable-detr_tiny_digits.py")
    kinds = Counter((call.head, call.method) for call in baseline)
    assert kinds["bbox_head", "FocalLoss"] == 3
    assert kinds["bbox_head, call 2", "FocalLoss"] == kinds["bbox_head, call 3", "FocalLoss"] == 2
    assert kinds["rpn_head", "CrossEntropyLoss"] == kinds["atss_head", "FocalLoss"] == 5
    assert kinds["roi_head.bbox_head", "CrossEntropyLoss"] == 1
    of_queries, ranked = [call for call in baseline if call.head == "bbox_head"], tiny[-1].problems
    assert [call.layer for call in of_queries] == ["decoder layer 0", "decoder layer 1", "encoder proposals"]
    assert of_queries[0].positives == ranked[0].positives
    assert of_queries[0].negatives == ranked[0].negatives


@pytest.mark.parametrize("name", ["brs_dino/brs-dino", "co_dino/co-dino"])
def test_denoising_queries_of_dino(name: str) -> None:
    recorded = record(f"configs/{name}_tiny_digits.py")
    first = [call for call in recorded if call.head == "bbox_head"]
    layers = [
        layer
        for call in first
        for layer in ([p.layer for p in call.problems] if isinstance(call, RankingCall) else [call.layer])
    ]
    queries = [f"decoder layer {i}" for i in range(2)]
    assert layers[:5] == [*queries, "encoder proposals", *(f"denoising queries of {layer}" for layer in queries)]


def write_mmdet(path: Path, base: str) -> str:
    path.write_text(f"_base_ = 'mmdet::{base}'\nmodel = dict(backbone=dict(init_cfg=None))\n")
    return str(path)


@pytest.mark.parametrize(
    ("base", "calls"),
    [
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", {"rpn_head": 5, "roi_head.bbox_head": 1}),
        (
            "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
            {"rpn_head": 5} | {f"roi_head.bbox_head.{stage}": 1 for stage in range(3)},
        ),
        ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", {"rpn_head": 5, "roi_head.bbox_head": 1}),
        ("atss/atss_r50_fpn_1x_coco.py", {"bbox_head": 5}),
        ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", {"bbox_head": 1}),
        ("gfl/gfl_r50_fpn_1x_coco.py", {"bbox_head": 5}),
    ],
)
def test_detectors_of_mmdet(tmp_path: Path, base: str, calls: dict[str, int]) -> None:
    recorded = record(write_mmdet(tmp_path / "config.py", base), images=2)
    assert Counter(call.head for call in recorded) == calls
    assert all(call.negatives >= 0 for call in recorded)
    assert sum(call.positives for call in recorded) > 0


def test_softmax_counts_no_background() -> None:
    loss = torch.nn.Module()
    logits, labels = torch.zeros(4, 3), torch.tensor([0, 1, 2, 2])  # 2 is the background
    assert count_logits(loss, logits, labels, torch.tensor([1.0, 1, 1, 0])) == (2, 7)
    loss.use_sigmoid = True
    assert count_logits(loss, logits, torch.tensor([0, 1, 2, 3])) == (3, 9)
    assert count_logits(loss, logits, (labels, torch.rand(4))) == (4, 8)
    assert count_logits(loss, logits, torch.eye(4, 3)) == (3, 9)


def test_other_detectors_want_their_network() -> None:
    with pytest.raises(InputError, match=r"neither CoDETR nor .* \(DINO\): use --source model\."):
        record("tests/engine/tiny_dino.py")
