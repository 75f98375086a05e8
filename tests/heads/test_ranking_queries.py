"""Every DETR head that ranks: which queries compete, what AP Loss does to their boxes, and that they learn."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from mmdet.models import ConditionalDETRHead, DETRHead
from mmdet.models.layers import DDQTransformerDecoder
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import Tensor, nn

from brs_detr.heads import BatchedMatchingMixin, DETRRankingMixin, QueryTargets, RankingDETRHead, RankSortLoss
from brs_detr.heads.detr_ranking import decoder_layers
from brs_detr.losses import NotFiniteError
from tests.configs.test_configs import build_model
from tests.detectors.test_co_detr import losses_of
from tests.reference import ROOT
from tests.samples import make_batch

RANKING = {
    "brs_detr/brs-detr": ("", "d0.", "enc_"),
    "brs_dino/brs-dino": ("", "d0.", "enc_", "dn_", "d0.dn_"),
    "dino/brs-dino-4scale": ("", "d0.", "enc_", "dn_", "d0.dn_"),
    "ddq/brs-ddq-detr-4scale": ("", "d0.", "enc_", "dn_", "d0.dn_", "dense_", "d0.dense_", "dense_enc_"),
}
STOCK = ("dino/brs-dino-4scale", "ddq/brs-ddq-detr-4scale")
DDQ, DDQ_BASELINE = "ddq/brs-ddq-detr-4scale", "ddq/ddq-detr-4scale"
AP = dict(type="APLoss", use_sigmoid=True, loss_weight=1.0)
BALANCED = dict(balance_boxes=True, loss_bbox=dict(loss_weight=1.0), loss_iou=dict(loss_weight=1.0))
TERMS = ("rank", "sort", "bbox", "iou")


def tiny(name: str, **bbox_head) -> nn.Module:
    cfg = Config.fromfile(str(ROOT / "configs" / f"{name}_tiny_digits.py"))
    loss_cls = bbox_head.pop("loss_cls", None)
    cfg.merge_from_dict(dict(model=dict(bbox_head=bbox_head)))
    if loss_cls:
        cfg.model.bbox_head.loss_cls = loss_cls
    torch.manual_seed(0)
    return build_model(cfg).train()


def seeded_losses(model: nn.Module, num_boxes: list[int]) -> dict[str, Tensor]:
    torch.manual_seed(0)  # of denoising queries and samplers
    return losses_of(model, num_boxes)


def learns(model: nn.Module, name: str, steps: int = 8) -> bool:
    """Whether the loss `name` falls by a twentieth on one batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    values = []
    for _ in range(steps):
        losses = seeded_losses(model, [3, 2])
        values.append(float(losses[name].detach()))
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    return min(values[-3:]) < 0.95 * values[0]


@pytest.mark.parametrize("name", RANKING)
def test_ap_loss_ranks_and_boxes_keep_their_weights(name: str) -> None:
    """Nothing is balanced to AP Loss, also where the head would: L1 and GIoU are as large as they are weighed."""
    weights = dict(loss_bbox=dict(loss_weight=5.0), loss_iou=dict(loss_weight=2.0))
    model = tiny(name, loss_cls=AP, balance_boxes=True, **weights)
    weighed = seeded_losses(model, [3, 2])
    unit = seeded_losses(tiny(name, loss_cls=AP, **BALANCED), [3, 2])
    for group in RANKING[name]:
        assert 0 < weighed[f"{group}loss_rank"] < 1
        assert f"{group}loss_sort" not in weighed
        assert torch.equal(weighed[f"{group}loss_bbox"].detach(), weighed[f"{group}bbox_unscaled"])
        torch.testing.assert_close(weighed[f"{group}loss_bbox"], 5 * unit[f"{group}loss_bbox"])
        torch.testing.assert_close(weighed[f"{group}loss_iou"], 2 * unit[f"{group}loss_iou"])
    model.parse_losses(weighed)[0].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", ["brs_detr/brs-detr", "brs_dino/brs-dino"])
def test_ap_loss_learns_one_batch(name: str) -> None:
    assert learns(tiny(name, loss_cls=AP), "loss_rank")


@pytest.mark.parametrize("name", STOCK)
def test_rank_and_sort_loss_learns_one_batch(name: str) -> None:
    assert learns(tiny(name), "loss_rank")


@pytest.mark.parametrize("name", STOCK)
def test_every_group_ranks_and_balances(name: str) -> None:
    losses = seeded_losses(tiny(name, **BALANCED), [3, 2])
    assert {key for key in losses if "loss" in key} == {f"{g}loss_{term}" for g in RANKING[name] for term in TERMS}
    for group in RANKING[name]:
        ranking = losses[f"{group}loss_rank"] + losses[f"{group}loss_sort"]
        assert ranking > 0
        torch.testing.assert_close(losses[f"{group}loss_bbox"], ranking)
        torch.testing.assert_close(losses[f"{group}loss_iou"], ranking)


@pytest.mark.parametrize("name", STOCK)
def test_as_configured_boxes_keep_the_baselines_weights(name: str) -> None:
    """The box losses of the queries are those of the baseline, whose mean is over the same positives."""
    losses = seeded_losses(tiny(name), [3, 2])
    baseline = seeded_losses(tiny(name.replace("brs-", "")), [3, 2])
    for group in RANKING[name][:5]:
        torch.testing.assert_close(losses[f"{group}loss_bbox"], baseline[f"{group}loss_bbox"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(losses[f"{group}loss_iou"], baseline[f"{group}loss_iou"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "groups"), list(zip(STOCK, (5, 8), strict=True)))
def test_all_groups_are_solved_in_one_call(name: str, groups: int) -> None:
    model, sizes = tiny(name), []
    model.bbox_head.loss_cls.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    losses_of(model, [3, 2])
    assert sizes == [groups]


@pytest.mark.parametrize("num_boxes", [[3, 0], [0, 0], [40, 1]])
@pytest.mark.parametrize("name", STOCK)
def test_hard_batches(name: str, num_boxes: list[int]) -> None:
    """The same losses whichever boxes exist, and a finite gradient for every parameter, as DDP needs it."""
    model = tiny(name)
    losses = losses_of(model, num_boxes)
    assert losses.keys() == losses_of(model, [2, 3]).keys()
    model.parse_losses(losses)[0].backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", STOCK)
def test_nan_is_named(name: str) -> None:
    model = tiny(name)
    with torch.no_grad():
        model.bbox_head.cls_branches[0].bias.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match=r"decoder layer 0: logits or boxes are NaN or infinite"):
        losses_of(model, [2, 2])


@pytest.mark.parametrize("name", STOCK)
def test_detections_are_the_parents(name: str) -> None:
    """Ranking changes the training alone."""
    models = [tiny(kind).eval() for kind in (name, name.replace("brs-", ""))]
    with torch.no_grad():
        ours, theirs = (model.test_step(make_batch([2], 10))[0].pred_instances for model in models)
    assert torch.equal(ours.bboxes, theirs.bboxes)
    assert torch.equal(ours.scores, theirs.scores)


@contextmanager
def matchings() -> Iterator[list[list[Tensor]]]:
    """The labels that each matching gives the queries of both images, by mmdet's head or by ours."""
    seen, get_targets, match = [], DETRHead.get_targets, BatchedMatchingMixin.match

    def spy(head: nn.Module, *args) -> tuple:
        targets = get_targets(head, *args)
        seen.append(targets[0])
        return targets

    def spy_of_all(head: nn.Module, layers: list, img_metas: list) -> list:
        targets = match(head, layers, img_metas)
        known = [isinstance(layer.ground_truth, QueryTargets) for layer in layers]
        seen.extend(layer.labels for layer, before in zip(targets, known, strict=True) if not before)
        return targets

    with mock.patch.object(DETRHead, "get_targets", spy), mock.patch.object(BatchedMatchingMixin, "match", spy_of_all):
        yield seen


@contextmanager
def every_third_query_is_distinct() -> Iterator[None]:
    """Of the first image, of the second every fourth. mmdet reads the first row of its mask, which is full as long as
    the first query itself is distinct."""
    select = DDQTransformerDecoder.select_distinct_queries

    def selecting(decoder: nn.Module, *args, **kwargs) -> Tensor:
        attention_mask = select(decoder, *args, **kwargs)
        first, second = decoder.cache_dict["distinct_query_mask"][-1].chunk(2)
        for mask, step in ((first, 3), (second, 4)):
            mask[:, 0] = torch.arange(60) % step == 0
        return attention_mask

    with mock.patch.object(DDQTransformerDecoder, "select_distinct_queries", selecting):
        yield


def test_ddq_matches_its_distinct_queries_only() -> None:
    """As many as mmdet's own head does, in each layer and image, with the same labels; in the first layer all."""
    labels = {}
    for name in (DDQ, DDQ_BASELINE):
        with every_third_query_is_distinct(), matchings() as seen:
            seeded_losses(tiny(name), [3, 2])
        labels[name] = seen
    ours, theirs = labels.values()
    assert [[len(image) for image in layer] for layer in ours] == [[60, 60], [20, 15], [60, 60]]
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_dense_queries_are_assigned_as_by_ddq() -> None:
    """Four queries an object with mmdet's labels; an image without objects has background that counts."""
    model = tiny(DDQ)
    head, seen = model.bbox_head, []
    dense_targets = head.dense_targets

    def spy(*args) -> QueryTargets:
        seen.append((args, dense_targets(*args)))
        return seen[-1][1]

    with mock.patch.object(head, "dense_targets", spy):
        losses_of(model, [3, 0])
    assert len(seen) == 3
    for (layer, metas), targets in seen:
        assert [int((labels < 10).sum()) for labels in targets.labels] == [12, 0]
        assert all(torch.equal(weights, torch.ones_like(weights)) for weights in targets.label_weights)
        height, width = metas[0]["img_shape"]
        scale = torch.tensor([width, height, width, height])
        centre, size = layer.boxes[0].detach().split(2, dim=1)
        boxes = torch.cat([centre - size / 2, centre + size / 2], dim=1) * scale
        objects = layer.ground_truth[0]
        labels, _, box_targets, _ = head.aux_loss_for_dense._get_target_single(
            layer.logits[0].detach().sigmoid(), boxes, objects.bboxes, objects.labels, metas[0]
        )
        assert torch.equal(labels, targets.labels[0])
        centre, size = targets.box_targets[0][labels < 10].split(2, dim=1)
        found = torch.cat([centre - size / 2, centre + size / 2], dim=1) * scale
        torch.testing.assert_close(found, box_targets[labels < 10])


@MODELS.register_module(force=True)
class ToyRankingHead(DETRRankingMixin, ConditionalDETRHead):
    """What it takes to make another head rank."""

    def loss_by_feat(self, logits: Tensor, boxes: Tensor, ground_truth: list, img_metas: list[dict]) -> dict:
        return self.layer_losses(decoder_layers(logits, boxes, ground_truth), img_metas)


def test_any_head_ranks_that_says_which_layers_it_has() -> None:
    loss_cls = dict(type="RankSortLoss", use_sigmoid=True)
    cost = [dict(type="FocalLossCost"), dict(type="BBoxL1Cost", box_format="xywh"), dict(type="IoUCost")]
    assigner = dict(type="HungarianAssigner", match_costs=cost)
    torch.manual_seed(0)
    head = MODELS.build(
        dict(type="ToyRankingHead", num_classes=5, embed_dims=16, loss_cls=loss_cls, train_cfg=dict(assigner=assigner))
    )
    samples = make_batch([3, 1], 5)["data_samples"]
    losses = head.loss(torch.randn(2, 2, 20, 16), torch.rand(2, 20, 2), samples)
    assert {key for key in losses if "loss" in key} == {f"{g}loss_{term}" for g in ("", "d0.") for term in TERMS}
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def losses_with(head: type | None = None, loss: type | None = None) -> dict[str, Tensor]:
    """Of the tiny BRS-DETR with another head or loss."""
    changed = {} if head is None else {"type": head}
    if loss is not None:
        changed["loss_cls"] = dict(type=loss)
    return seeded_losses(tiny("brs_detr/brs-detr", **changed), [3, 2])


def test_a_subclass_changes_the_losses_of_all_queries() -> None:
    class HeadWithAnotherTerm(RankingDETRHead):
        def loss_by_feat(self, *args, **kwargs) -> dict[str, Tensor]:
            losses = super().loss_by_feat(*args, **kwargs)
            return losses | {"loss_number": torch.tensor(float(sum("loss" in key for key in losses)))}

    losses = losses_with(head=HeadWithAnotherTerm)
    of_queries = seeded_losses(tiny("brs_detr/brs-detr"), [3, 2])
    assert losses.keys() - of_queries.keys() == {"loss_number"}
    number = sum("loss" in key for key in of_queries if not re.search("rpn|roi\\.|atss\\.", key))
    assert losses["loss_number"] == number


def test_a_subclass_whose_loss_nobody_calls_is_refused() -> None:
    with pytest.raises(TypeError, match=r"HeadOfOld\.loss would not be called: Co-DETR calls loss_with_auxiliary"):
        type("HeadOfOld", (RankingDETRHead,), {"loss": lambda self, *args: {}})


def test_an_own_loss_may_order_its_terms_otherwise() -> None:
    class LossOfOtherOrder(RankSortLoss):
        term_names = RankSortLoss.term_names[::-1]

    losses, others = losses_with(loss=LossOfOtherOrder), losses_with(loss=RankSortLoss)
    assert losses.keys() == others.keys()
    assert all(torch.equal(losses[key], others[key]) for key in others)


def test_an_own_loss_balances_each_layer() -> None:
    class LossOfOneBalance(RankSortLoss):
        def balance(self, terms: dict[str, Tensor]) -> Tensor:
            return torch.stack(list(terms.values())).sum()

    with pytest.raises(TypeError, match=r"LossOfOneBalance\.balance gave \(\) for terms of shape \(\d+,\)"):
        losses_with(loss=LossOfOneBalance)
