"""Stock heads of mmdet take a ranking loss by two lines of config; brs_detr/heads/README.md has the table."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MessageHub
from torch import Tensor, nn

from brs_detr.heads.ranking_loss import APLoss, RankSortLoss
from brs_detr.losses import MIN_IOU, rank_sort_loss
from tests.samples import make_batch

pytestmark = [  # mmdet's and mmcv's, about arguments of torch and of each other
    pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.autocast:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*(dropout|add_residual).* deprecated:DeprecationWarning"),
]

RANK_SORT = 'dict(_delete_=True, type="RankSortLoss", use_sigmoid=True)'
OF_SCORES = 'dict(_delete_=True, type="RankSortLoss", use_sigmoid=True, activated=True)'
AP = 'dict(_delete_=True, type="APLoss", use_sigmoid=True)'
DENSE = "bbox_head=dict(loss_cls={})"
RPN, ROI = "rpn_head=dict(loss_cls={})", "roi_head=dict(bbox_head=dict(loss_cls={}))"
FASTER_RCNN = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco"

WITH_IOUS = {
    "gfl/gfl_r50_fpn_1x_coco": RANK_SORT,
    "dino/dino-4scale_r50_8xb2-12e_coco": RANK_SORT,
    "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco": RANK_SORT,
    "detr/detr_r50_8xb2-150e_coco": RANK_SORT,
    "conditional_detr/conditional-detr_r50_8xb2-50e_coco": RANK_SORT,
    "dab_detr/dab-detr_r50_8xb2-50e_coco": RANK_SORT,
    "rtmdet/rtmdet_tiny_8xb32-300e_coco": RANK_SORT,
    "vfnet/vfnet_r50_fpn_1x_coco": RANK_SORT,
    "tood/tood_r50_fpn_1x_coco": OF_SCORES,
}
LABELS_ONLY = (
    "retinanet/retinanet_r50_fpn_1x_coco",
    "atss/atss_r50_fpn_1x_coco",
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
    "foveabox/fovea_r50_fpn_4xb4-1x_coco",
    "ddq/ddq-detr-4scale_r50_8xb2-12e_coco",
)
RANKING_HEADS = {  # by type, with the losses that they log
    "dino/dino-4scale_r50_8xb2-12e_coco": ("RankingDINOHead", ("", "d0.", "enc_", "dn_", "d0.dn_")),
    "ddq/ddq-detr-4scale_r50_8xb2-12e_coco": ("RankingDDQDETRHead", ("", "enc_", "dn_", "dense_", "dense_enc_")),
}
DIVIDED = "tood"  # by the sum of its alignment metrics, which the loss does not see
NEITHER = {
    "paa/paa_r50_fpn_1x_coco": "no loss for each sample",
    "yolox/yolox_tiny_8xb8-300e_coco": "list",
    "ssd/ssd300_coco": "unexpected keyword argument 'loss_cls'",
}


def shrink(node: Any) -> None:
    """The same model with a ResNet of width 8, two layers of every transformer and 30 queries; in place."""
    if isinstance(node, (list, tuple)):
        for value in node:
            shrink(value)
    if not isinstance(node, dict):
        return
    if node.get("type") == "ResNet":
        norm = dict(type="BN", requires_grad=True)
        node.update(base_channels=8, norm_cfg=norm, frozen_stages=-1, norm_eval=False, init_cfg=None)
    if node.get("type") in ("FPN", "ChannelMapper"):
        node["in_channels"] = [channels // 8 for channels in node["in_channels"]]
    small = dict(num_layers=2, num_queries=30, feedforward_channels=64)
    node.update({key: value for key, value in small.items() if key in node})
    for value in node.values():
        shrink(value)


def stock_model(folder: Path, base: str, line: str) -> nn.Module:
    """The small model of a stock config with one line changed, from a config file such as a user writes."""
    config = folder / "config.py"
    config.write_text(
        f'_base_ = "mmdet::{base}.py"\n'
        'custom_imports = dict(imports=["brs_detr.registry"], allow_failed_imports=False)\n'
        f"model = dict({line})\n"
    )
    model = Config.fromfile(config).model
    shrink(model)
    model.backbone.init_cfg = None  # no download
    model.data_preprocessor.batch_augments = None
    torch.manual_seed(0)
    built = MODELS.build(model)
    with mock.patch("mmengine.logging.MMLogger.info"):
        built.init_weights()
    return built.train()


@pytest.fixture(autouse=True)
def fifth_epoch() -> Iterator[None]:
    """TOOD's first epochs, which it reads here, have another loss."""
    hub = MessageHub.get_current_instance()
    hub.update_info("epoch", 4)
    yield
    hub.pop_info("epoch")


def training_step(model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    batch = model.data_preprocessor(make_batch([3, 2], 80), training=True)
    loss, logged = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
    loss.backward()
    return loss.detach(), {name: value.detach() for name, value in logged.items()}


def without_finite_gradient(model: nn.Module) -> list[str]:
    return [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.isfinite().all())
    ]


def expected_loss(logits: Tensor, targets: Any, weight: Tensor | None = None, activated: bool = False) -> Tensor:
    """Rank plus sort of one call, its targets written down sample by sample."""
    logits = logits.detach().float()
    ious = torch.zeros_like(logits) if isinstance(targets, tuple) else targets.clone()
    if isinstance(targets, tuple):
        for row, (label, score) in enumerate(zip(*targets, strict=True)):
            if label < logits.shape[1]:
                ious[row, label] = min(max(float(score), MIN_IOU), 1.0)
    if weight is not None:
        ious[weight.flatten() == 0] = -1
    if activated:
        logits = torch.log(logits / (1 - logits))
    return sum(rank_sort_loss(logits.flatten(), ious.flatten(), delta=0.5))


@pytest.mark.parametrize("base", WITH_IOUS)
def test_heads_that_know_ious_rank_and_sort(base: str, tmp_path: Path) -> None:
    """Every call of the loss equals the plain function on the same logits and targets."""
    model = stock_model(tmp_path, base, DENSE.format(WITH_IOUS[base]))
    calls = []

    def record(module: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> None:
        targets = tuple(t.detach() for t in args[1]) if isinstance(args[1], tuple) else args[1].detach()
        weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
        calls.append((output.detach(), expected_loss(args[0], targets, weight, module.activated)))

    model.bbox_head.loss_cls.register_forward_hook(record, with_kwargs=True)
    loss, logged = training_step(model)
    assert loss.isfinite()
    assert without_finite_gradient(model) == []
    for ours, expected in calls:
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    total = sum(float(value) for name, value in logged.items() if "loss_cls" in name)
    assert DIVIDED in base or sum(float(ours) for ours, _ in calls) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("base", WITH_IOUS)
def test_heads_that_know_ious_take_ap_loss_too(base: str, tmp_path: Path) -> None:
    model = stock_model(tmp_path, base, DENSE.format(WITH_IOUS[base].replace("RankSortLoss", "APLoss")))
    _, logged = training_step(model)
    assert float(logged["loss_cls"]) > 0
    assert without_finite_gradient(model) == []


@pytest.mark.parametrize("base", LABELS_ONLY)
def test_heads_without_ious_take_ap_loss_only(base: str, tmp_path: Path) -> None:
    model = stock_model(tmp_path, base, DENSE.format(AP))
    _, logged = training_step(model)
    assert 0 < float(logged["loss_cls"]) <= 5
    assert without_finite_gradient(model) == []
    with pytest.raises(TypeError, match="RankSortLoss sorts by IoU, but this head passes labels only: use APLoss"):
        training_step(stock_model(tmp_path, base, DENSE.format(RANK_SORT)))


@pytest.mark.parametrize("base", RANKING_HEADS)
def test_stock_detectors_with_a_ranking_head(base: str, tmp_path: Path) -> None:
    """One more word of config: all groups of queries rank, and boxes balance."""
    head, groups = RANKING_HEADS[base]
    line = f'bbox_head=dict(type="{head}", loss_cls={RANK_SORT})'
    model = stock_model(tmp_path, base, line)
    _, logged = training_step(model)
    for group in groups:
        ranking = logged[f"{group}loss_rank"] + logged[f"{group}loss_sort"]
        torch.testing.assert_close(logged[f"{group}loss_bbox"], ranking)
    assert not any("loss_cls" in name for name in logged)
    assert without_finite_gradient(model) == []


def test_two_stage_detector_with_ap_loss(tmp_path: Path) -> None:
    model = stock_model(tmp_path, FASTER_RCNN, f"{RPN}, {ROI}".format(AP, AP))
    _, logged = training_step(model)
    assert {"loss_rpn_cls", "loss_cls"} <= logged.keys()
    assert without_finite_gradient(model) == []
    with torch.no_grad():
        detections = model.eval().test_step(make_batch([1], 80))[0].pred_instances
    assert (detections.labels < 80).all()
    for head in (RPN, ROI):
        with pytest.raises(TypeError, match="passes labels only"):
            training_step(stock_model(tmp_path, FASTER_RCNN, head.format(RANK_SORT)))


@pytest.mark.parametrize("base", NEITHER)
@pytest.mark.parametrize("loss", [RANK_SORT, AP], ids=["rank_sort", "ap"])
def test_heads_that_need_their_own(base: str, loss: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=NEITHER[base]):
        training_step(stock_model(tmp_path, base, DENSE.format(loss)))


@pytest.mark.parametrize("base", ["gfl/gfl_r50_fpn_1x_coco", "dino/dino-4scale_r50_8xb2-12e_coco"])
def test_loss_falls(base: str, tmp_path: Path) -> None:
    model = stock_model(tmp_path, base, DENSE.format(RANK_SORT))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        losses.append(float(training_step(model)[1]["loss_cls"]))
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def problem() -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
    """Six samples of three classes: two positives, one that misses its object, background, and one ignored."""
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    labels, ious = torch.tensor([0, 2, 1, 3, 3, 1]), torch.tensor([0.9, 0.4, 0.0, 0.0, 0.0, 0.7])
    return logits, (labels, ious), torch.tensor([1.0, 1, 1, 1, 1, 0])


@pytest.mark.parametrize("make", [RankSortLoss, APLoss])
def test_avg_factor_and_weights_do_not_scale(make: Callable) -> None:
    logits, targets, weight = problem()
    once = make()(logits, targets, weight=weight, avg_factor=1.0)
    assert once.shape == ()
    assert torch.equal(once, make()(logits, targets, weight=3 * weight, avg_factor=17.0))
    assert not torch.equal(once, make()(logits, targets, weight=torch.ones(6), avg_factor=1.0))
    assert float(make(loss_weight=5.0)(logits, targets, weight=weight, avg_factor=1.0)) == pytest.approx(5 * once)


def test_a_batch_without_positives_has_a_gradient_of_zero() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    RankSortLoss()(logits, (torch.full((4,), 3), torch.zeros(4)), weight=torch.ones(4), avg_factor=1.0).backward()
    assert torch.equal(logits.grad, torch.zeros(4, 3))


def test_own_heads_still_get_both_terms() -> None:
    logits, (labels, ious), _ = problem()
    one_hot = torch.nn.functional.one_hot(labels, 4)[:, :3] * ious[:, None].clamp(min=MIN_IOU)
    both = RankSortLoss()(logits.flatten(), one_hot.flatten(), name="a head")
    together = RankSortLoss()(logits, (labels, ious), avg_factor=1.0)
    torch.testing.assert_close(both.ranking + both.sorting, together)
