"""Anchors and proposals are assigned and sampled as by mmdet, also at ties, and the host hardly waits."""

from typing import Any

import pytest
import torch
from mmdet.models import ATSSHead
from mmdet.models.task_modules import AssignResult
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from benchmarks.host_reads import OURS, host_reads
from benchmarks.stand_in_gpu import GPU, StandInGPU, standing_in
from brs_detr.heads.anchor_assignment import OneReadATSSMixin

RPN = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True)
ROI = dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False)
SETTINGS = {
    "rpn": RPN,
    "roi": ROI,
    "first of several best": RPN | dict(gt_max_assign_all=False),
    "low overlaps ignored": RPN | dict(neg_iou_thr=(0.1, 0.3)),
}


def problem(objects: int, anchors: int = 200) -> tuple[Tensor, Tensor]:
    """IoUs in steps of 0.1, so that many are equal, with ignored anchors (-1); and labels."""
    generator = torch.Generator().manual_seed(objects)
    overlaps = torch.randint(0, 11, (objects, anchors), generator=generator) / 10
    overlaps = overlaps * (torch.rand(objects, anchors, generator=generator) > 0.8)
    overlaps[:, ::17] = -1
    return overlaps, torch.randint(0, 5, (objects,), generator=generator)


def assigned(kind: str, settings: dict[str, Any], *given: Tensor) -> AssignResult:
    return TASK_UTILS.build(dict(type=kind, **settings)).assign_wrt_overlaps(*given)


@pytest.mark.parametrize("objects", [0, 1, 4, 30])
@pytest.mark.parametrize("name", SETTINGS)
def test_assignments_are_those_of_mmdet(name: str, objects: int) -> None:
    ours, theirs = (
        assigned(kind, SETTINGS[name], *problem(objects)) for kind in ("VectorizedMaxIoUAssigner", "MaxIoUAssigner")
    )
    assert ours.num_gts == theirs.num_gts == objects
    for field in ("gt_inds", "labels", "max_overlaps"):
        assert getattr(ours, field).dtype == getattr(theirs, field).dtype
        assert torch.equal(getattr(ours, field), getattr(theirs, field)), field


@pytest.mark.parametrize("objects", [0, 4])
def test_samples_are_those_of_mmdet(objects: int) -> None:
    overlaps, labels = problem(objects)
    truth = InstanceData(bboxes=torch.rand(objects, 4), labels=labels)
    result, anchors = assigned("MaxIoUAssigner", RPN, overlaps, labels), InstanceData(priors=torch.rand(200, 4))
    ours, theirs = (
        TASK_UTILS.build(dict(type=kind)).sample(result, anchors, truth)
        for kind in ("OneReadPseudoSampler", "PseudoSampler")
    )
    assert vars(ours).keys() == vars(theirs).keys()
    for key, value in vars(theirs).items():
        mine = vars(ours)[key]
        assert torch.equal(mine, value) if isinstance(value, Tensor) else mine == value, key


def test_the_host_reads_once_an_image() -> None:
    overlaps, labels = problem(30)
    truth, anchors = InstanceData(bboxes=torch.rand(30, 4)), InstanceData(priors=torch.rand(200, 4))
    assigner = TASK_UTILS.build(dict(type="VectorizedMaxIoUAssigner", **RPN))
    sampler = TASK_UTILS.build(dict(type="OneReadPseudoSampler"))
    reads = host_reads(lambda: sampler.sample(assigner.assign_wrt_overlaps(overlaps, labels), anchors, truth))
    assert reads.by == {OURS: 1}


def anchors_of(head: ATSSHead, device: torch.device) -> list[Tensor]:
    anchors, valid = head.get_anchors([(4, 5), (2, 3)], [dict(pad_shape=(30, 40))], device=device)
    return [*anchors[0], *valid[0]]


def atss_heads() -> list[ATSSHead]:
    generator = dict(type="AnchorGenerator", ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16])
    return [kind(2, 8, stacked_convs=0, anchor_generator=generator) for kind in (OneReadATSSMixin, ATSSHead)]


def test_anchors_inside_are_those_of_mmdet() -> None:
    ours, theirs = atss_heads()
    assert all(map(torch.equal, *(anchors_of(head, torch.device("cpu")) for head in (ours, theirs))))
    flags = torch.rand(26) > 0.4
    assert host_reads(lambda: ours.get_num_level_anchors_inside([20, 6], flags)).by == {OURS: 1}
    numbers = [head.get_num_level_anchors_inside([20, 6], flags) for head in (ours, theirs)]
    assert numbers[0] == numbers[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="stands in for a GPU, where there is none")
def test_anchors_are_copied_to_a_gpu_once() -> None:
    ours, theirs = atss_heads()
    expected = anchors_of(theirs, torch.device("cpu"))
    with standing_in(StandInGPU()) as mode:
        first = anchors_of(ours, GPU)
        before = mode.number.copy()
        again = anchors_of(ours, GPU)
        assert mode.number == before
        for one, two, other in zip(first, again, expected, strict=True):
            assert torch.equal(one.values, other)
            assert torch.equal(two.values, other)
