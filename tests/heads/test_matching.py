"""Matching in one round trip: what mmdet's assigner gives, in every kind of DETR head; errors that name a layer."""

import copy
from typing import Any

import pytest
import torch
from mmdet.models.task_modules.assigners import HungarianAssigner
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from benchmarks.host_reads import OURS, host_reads
from brs_detr.heads import QueryTargets
from brs_detr.heads.assigner import match_together
from brs_detr.heads.detr_ranking import decoder_layers
from brs_detr.heads.host import read_together
from brs_detr.heads.matching import LayerOutputs
from brs_detr.losses import NotFiniteError
from tests.samples import make_batch

pytestmark = pytest.mark.filterwarnings("ignore:.*(dropout|add_residual).* deprecated:DeprecationWarning")  # mmdet's

CLASSES, QUERIES = 5, 12
COSTS = [dict(type="FocalLossCost", weight=2.0), dict(type="BBoxL1Cost", weight=5.0, box_format="xywh")]
GIOU = dict(type="IoUCost", iou_mode="giou", weight=2.0)
DENOISING, DENSE = 120, 100  # queries; of denoising two for each of 20 objects in three groups
META = dict(num_denoising_queries=DENOISING, num_denoising_groups=3, num_dense_queries=DENSE)
TWO_STAGE = dict(num_pred_layer=3, as_two_stage=True)
HEADS: dict[str, tuple[dict, int]] = {  # their options, and how many queries they have beside those that are matched
    "DETRHead": ({}, 0),
    "ConditionalDETRHead": ({}, 0),
    "DABDETRHead": ({}, 0),
    "DeformableDETRHead": (TWO_STAGE, 0),
    "DINOHead": (TWO_STAGE, DENOISING),
    "DDQDETRHead": (TWO_STAGE, DENOISING + DENSE),
}


def head(name: str, assigner: str = "BatchedHungarianAssigner", **options: Any) -> nn.Module:
    focal = dict(type="FocalLoss", use_sigmoid=True, loss_weight=1.0)
    train_cfg = dict(assigner=dict(type=assigner, match_costs=[*COSTS, GIOU]))
    config = dict(type=name, num_classes=CLASSES, embed_dims=8, loss_cls=focal, train_cfg=train_cfg, **options)
    return MODELS.build(copy.deepcopy(config)).train()


def outputs(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (*shape, classes) and boxes (*shape, 4), with a gradient."""
    torch.manual_seed(seed)
    boxes = torch.cat([torch.rand(*shape, 2), 0.05 + 0.4 * torch.rand(*shape, 2)], dim=-1)
    return torch.randn(*shape, CLASSES).requires_grad_(), boxes.requires_grad_()


def ground_truth(num_boxes: list[int]) -> tuple[list[InstanceData], list[dict]]:
    samples = make_batch(num_boxes, CLASSES)["data_samples"]
    return [sample.gt_instances for sample in samples], [sample.metainfo for sample in samples]


def layers_of(num_boxes: list[int]) -> tuple[list[LayerOutputs], list[dict]]:
    """Three decoder layers, and an encoder with more queries that knows one class."""
    objects, metas = ground_truth(num_boxes)
    agnostic = [InstanceData(bboxes=gt.bboxes, labels=torch.zeros_like(gt.labels)) for gt in objects]
    encoder = LayerOutputs("enc_", "encoder proposals", *outputs(len(objects), 50, seed=1), agnostic)
    return [*decoder_layers(*outputs(3, len(objects), QUERIES), objects), encoder], metas


def assert_same_targets(ours: QueryTargets, theirs: QueryTargets) -> None:
    for mine, other in zip(ours[:4], theirs[:4], strict=True):
        for a, b in zip(mine, other, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
    assert ours[4:] == theirs[4:]


@pytest.mark.parametrize("num_boxes", [[3, 2], [3, 0, 1], [0, 0], [40, 1], [QUERIES]])
def test_targets_are_those_of_mmdet(num_boxes: list[int]) -> None:
    """Also of empty images, and where an image has more objects than queries."""
    layers, metas = layers_of(num_boxes)
    ours = head("BatchedDETRHead").match(layers, metas)
    theirs = head("BatchedDETRHead", "HungarianAssigner").match(layers, metas)
    for layer in zip(ours, theirs, strict=True):
        assert_same_targets(*layer)


def test_ties_fall_as_in_mmdet() -> None:
    """All queries are the same: scipy chooses, by the order of the matrix alone."""
    objects, metas = ground_truth([4, 3])
    logits, boxes = torch.zeros(2, 2, QUERIES, CLASSES), torch.full((2, 2, QUERIES, 4), 0.5)
    layers = decoder_layers(logits, boxes, objects)
    ours = head("BatchedDETRHead").match(layers, metas)
    theirs = head("BatchedDETRHead", "HungarianAssigner").match(layers, metas)
    for layer in zip(ours, theirs, strict=True):
        assert_same_targets(*layer)


def test_queries_of_images_may_differ_in_number_and_known_targets_stay() -> None:
    """As DDQ's distinct queries; with targets that nobody has to match in between."""
    objects, metas = ground_truth([3, 2])
    logits, boxes = outputs(2, QUERIES)
    uneven = LayerOutputs("", "uneven", [logits[0], logits[1, :7]], [boxes[0], boxes[1, :7]], objects)
    known = QueryTargets([], [], [], [])
    given = LayerOutputs("", "given", logits, boxes, known)
    first, second, third = head("BatchedDETRHead").match([uneven, given, uneven], metas)
    (expected,) = head("BatchedDETRHead", "HungarianAssigner").match([uneven], metas)
    assert second is known
    assert_same_targets(first, expected)
    assert_same_targets(third, expected)


def test_the_host_reads_once() -> None:
    layers, metas = layers_of([3, 0, 4])
    batched = head("BatchedDETRHead")
    assert host_reads(lambda: batched.match(layers, metas)).by == {OURS: 1}


def losses_and_gradients(name: str, assigner: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Of a head on two decoder layers, and an encoder's proposals if it has two stages, of three images."""
    objects, metas = ground_truth([3, 0, 20])
    options, more = HEADS[name.removeprefix("Batched")]
    torch.manual_seed(0)
    model, (logits, boxes) = head(name, assigner, **options), outputs(2, 3, QUERIES + more)
    encoder = dict(zip(("enc_cls_scores", "enc_bbox_preds"), outputs(3, 50, seed=1), strict=True)) if options else {}
    denoising = dict(dn_meta=META) if more else {}
    if more > DENOISING:
        distinct = torch.arange(QUERIES).remainder(3) > 0
        model.cache_dict = dict(num_heads=2, distinct_query_mask=[distinct.expand(6, QUERIES, QUERIES)])
    given = dict(batch_gt_instances=objects, batch_img_metas=metas, **encoder, **denoising)
    _, losses = BaseModel.parse_losses(model, model.loss_by_feat(logits, boxes, **given))
    losses.pop("loss")
    sum(losses.values()).backward()
    return {key: value.detach() for key, value in losses.items()}, logits.grad, boxes.grad


@pytest.mark.parametrize("name", HEADS)
def test_losses_of_mmdets_heads(name: str) -> None:
    """To the last bit those of the head without `Batched`, with their gradients."""
    ours, *our_gradients = losses_and_gradients(f"Batched{name}", "BatchedHungarianAssigner")
    theirs, *their_gradients = losses_and_gradients(name, "HungarianAssigner")
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert all(torch.equal(*pair) for pair in zip(our_gradients, their_gradients, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
def test_what_cannot_be_matched_is_named(value: float) -> None:
    """The layer, in heads that rank and in mmdet's; afterwards the head works."""
    objects, metas = ground_truth([3, 2])
    logits, boxes = (each.detach() for each in outputs(3, 2, QUERIES))
    broken = boxes.clone()
    broken[1, 1, :, :2] = value
    detr = head("BatchedDETRHead")
    for attempt in (
        lambda: detr.match(decoder_layers(logits, broken, objects, kind="own "), metas),
        lambda: detr.loss_by_feat(logits, broken, objects, metas),
    ):
        with pytest.raises(NotFiniteError, match="decoder layer 1: logits or boxes are NaN or infinite, so"):
            attempt()
    assert detr.loss_by_feat(logits, boxes, objects, metas)["loss_cls"] > 0
    without = [objects[0], objects[1][:0]]  # costs of an image without objects are not asked for
    assert detr.match(decoder_layers(logits, broken, without), metas)[1].num_total_pos == 3


def test_other_heads_use_it_image_by_image() -> None:
    objects, metas = ground_truth([3])
    logits, boxes = outputs(1, QUERIES)
    stock, plain = head("DETRHead"), head("DETRHead", "HungarianAssigner")
    assert not isinstance(plain.assigner, type(stock.assigner))
    assert isinstance(stock.assigner, HungarianAssigner)
    ours, theirs = (each.get_targets(list(logits), list(boxes), objects, metas) for each in (stock, plain))
    assert_same_targets(QueryTargets(*ours), QueryTargets(*theirs))


def test_costs_of_any_dtype_are_read_exactly() -> None:
    """A batch may mix them, as autocast does; scipy itself refuses bfloat16."""
    tensors = [torch.randn(3, 2).to(dtype) for dtype in (torch.bfloat16, torch.float32, torch.float16)]
    found = read_together(tensors)
    assert [part.shape for part in found] == [(3, 2)] * 3
    assert all(torch.equal(torch.from_numpy(part), t.float()) for part, t in zip(found, tensors, strict=True))
    (matched,) = match_together([tensors[:1]], ["layer"])
    assert matched.number == 2


def test_sure_logits_of_float16_are_matched() -> None:
    """1 - sigmoid is 0 there from 8.4 on, and the focal cost minus infinity."""
    ours = head("BatchedDETRHead")
    objects, metas = ground_truth([2])
    logits, boxes = outputs(1, QUERIES)
    logits.data[0, 3, objects[0].labels[0]] = 9.0
    (full,), (half,) = (
        ours.match([LayerOutputs("", "decoder layer 0", each, boxes, objects)], metas)
        for each in (logits, logits.half())
    )
    assert_same_targets(half, full)
