"""Co-DINO and its ranking variants: real steps on easy and hard batches, and what their configs say."""

import copy
from collections.abc import Callable

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from brs_detr.errors import InputError
from brs_detr.losses import NotFiniteError
from brs_detr.losses.interface import PERFECT
from tests.configs.test_configs import build_model, train_one_step
from tests.detectors.test_co_detr import losses_of
from tests.reference import ROOT
from tests.samples import make_batch

TINY = {
    "baseline": "co_dino/co-dino_tiny_digits",
    "ranking": "brs_dino/brs-dino_tiny_digits",
    "pairwise": "brs_dino/rs-dino_tiny_digits",
}
FULL = (
    "co_dino/co-dino_5scale_r50_1x_coco",
    "brs_dino/brs-dino_5scale_r50_1x_coco",
    "brs_dino/brs-dino_5scale_swin-l_1x_coco",
)
BALANCED = dict(balance_boxes=True, loss_bbox=dict(loss_weight=1.0), loss_iou=dict(loss_weight=1.0))


def config(name: str) -> Config:
    return Config.fromfile(str(ROOT / "configs" / f"{name}.py"))


def tiny(kind: str, **bbox_head) -> nn.Module:
    cfg = config(TINY[kind])
    cfg.model.bbox_head.update(bbox_head)
    torch.manual_seed(0)
    return build_model(cfg).train()


HARD = [(kind, boxes) for kind in ("baseline", "ranking") for boxes in ([3, 0], [0, 0], [40, 1])]


@pytest.mark.parametrize(("kind", "num_boxes"), [*((kind, [1]) for kind in TINY), *HARD])
def test_step_gives_every_parameter_a_finite_gradient(kind: str, num_boxes: list[int]) -> None:
    model = tiny(kind)
    logged = train_one_step(model, config(TINY[kind]), num_boxes)
    assert all(torch.isfinite(value).all() for value in logged.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert torch.isfinite(parameter).all(), name


@pytest.mark.parametrize("kind", ["baseline", "ranking"])
def test_losses_do_not_depend_on_which_boxes_exist(kind: str) -> None:
    model = tiny(kind)
    assert losses_of(model, [0, 0]).keys() == losses_of(model, [2, 3]).keys()


GROUPS = ("", "d0.", "dn_", "d0.dn_", "enc_", "roi_queries.", "roi_queries.d0.", "atss_queries.", "atss_queries.d0.")


def test_every_group_of_queries_ranks_and_balances() -> None:
    """Both decoder layers, encoder proposals, denoising and auxiliary queries; boxes as large as the ranking.

    The RoI head's positives are the objects themselves here: next to nothing is wrong with its queries' boxes yet.
    """
    losses = losses_of(tiny("ranking", **BALANCED), [3, 2])
    names = {f"{group}loss_{term}" for group in GROUPS for term in ("rank", "sort", "bbox", "iou")}
    assert names <= losses.keys()
    assert not any("loss_cls" in name for name in losses)
    for group in GROUPS:
        ranking = losses[f"{group}loss_rank"] + losses[f"{group}loss_sort"]
        assert ranking > 0
        for term in ("bbox", "iou"):
            share = (losses[f"{group}{term}_unscaled"] / PERFECT).clamp(max=1)
            assert (share < 1) == (group.startswith("roi_queries."))
            torch.testing.assert_close(losses[f"{group}loss_{term}"], share * ranking)


def test_queries_of_one_pass_are_solved_in_one_call() -> None:
    """Two decoder layers, the encoder, two layers of denoising, and twice two layers of auxiliary queries."""
    model = tiny("ranking")
    sizes = []
    model.bbox_head.loss_cls.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    losses_of(model, [3, 2])
    assert sizes == [9]


def test_boxes_keep_their_weights() -> None:
    """As configured, L1 counts 5 times and GIoU twice, as in the released variant and the baseline."""
    configured, balanced = (_seeded(lambda h=head: losses_of(tiny("ranking", **h), [3, 2])) for head in ({}, BALANCED))
    for group in GROUPS[:5]:
        torch.testing.assert_close(configured[f"{group}loss_bbox"], 5 * balanced[f"{group}bbox_unscaled"])
        torch.testing.assert_close(configured[f"{group}loss_iou"], 2 * balanced[f"{group}iou_unscaled"])
        torch.testing.assert_close(configured[f"{group}loss_rank"], balanced[f"{group}loss_rank"])


def _seeded(losses: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return losses()


def test_exact_and_pairwise_ranking_are_one_loss() -> None:
    exact, pairwise = (_seeded(lambda kind=kind: losses_of(tiny(kind), [3, 2])) for kind in ("ranking", "pairwise"))
    assert exact.keys() == pairwise.keys()
    for name, value in exact.items():
        torch.testing.assert_close(value, pairwise[name], rtol=1e-4, atol=1e-5, msg=name)


def test_ranking_learns_one_batch() -> None:
    """Eight steps on one batch: queries and denoising queries rank better than at the start."""
    torch.manual_seed(0)
    cfg, model = config(TINY["ranking"]), tiny("ranking")
    optim_wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    ranking = []
    for _ in range(8):
        losses = losses_of(model, [3, 2])
        ranking.append(float((losses["loss_rank"] + losses["dn_loss_rank"]).detach()))
        optim_wrapper.update_params(model.parse_losses(losses)[0])
    assert min(ranking[-3:]) < 0.95 * ranking[0]


def test_nan_in_the_images_is_named() -> None:
    model = tiny("ranking")
    batch = model.data_preprocessor(make_batch([2, 2], 10), training=True)
    with pytest.raises(NotFiniteError, match=r"RPN: .* logits are NaN or infinite"):
        model.loss(batch["inputs"] * float("nan"), batch["data_samples"])


def test_images_too_small_for_the_queries() -> None:
    with pytest.raises(InputError, match=r"give 45 encoder proposals, fewer than the 60 queries"):
        losses_of(tiny("baseline"), [1, 1], size=(40, 48))
    plain = build_model(Config.fromfile(ROOT / "configs" / "dino" / "dino-4scale_tiny_digits.py"))
    with pytest.raises(InputError, match=r"encoder proposals, fewer than the \d+ queries"):
        losses_of(plain, [1, 1], size=(40, 48))
    for model in tiny("baseline"), plain:
        (found,) = model.eval().test_step(make_batch([0], 10, size=(20, 150)))
        assert len(found.pred_instances)
        assert torch.isfinite(found.pred_instances.bboxes).all()


def test_content_of_the_queries_starts_normal() -> None:
    """As released; mmdet's DINO draws it by Xavier's rule, here with deviation 0.1."""
    content = tiny("baseline").query_embedding.weight.detach()
    assert float(content.std()) == pytest.approx(1, abs=0.05)


def test_two_models_of_one_config() -> None:
    """mmdet writes into `dn_cfg` and then refuses to read it again."""
    cfg = config(TINY["baseline"])
    assert build_model(cfg).dn_query_generator.num_dn_queries == build_model(cfg).dn_query_generator.num_dn_queries


@pytest.mark.parametrize("name", FULL)
def test_published_settings(name: str) -> None:
    """900 queries, five scales from stride 4, soft suppression of 300 detections, batches of 16 images."""
    cfg = config(name)
    model = cfg.model
    assert (model.num_queries, model.num_feature_levels, model.neck.num_outs) == (900, 5, 5)
    assert len(model.neck.in_channels) == len(model.backbone.out_indices) == 4
    assert len(model.rpn_head.anchor_generator.strides) == len(model.atss_head.anchor_generator.strides) == 6
    extractor = model.roi_head.bbox_roi_extractor
    assert (extractor.featmap_strides, extractor.finest_scale) == ([4, 8, 16, 32, 64], 56)
    assert (model.dn_cfg.label_noise_scale, model.dn_cfg.box_noise_scale) == (0.5, 1.0)
    assert model.test_cfg.detr == dict(max_per_img=300, nms=dict(type="soft_nms", iou_threshold=0.8))
    assert cfg.optim_wrapper.optimizer == dict(type="OnePassAdamW", lr=2e-4, weight_decay=1e-4, fused=True)
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys == dict(backbone=dict(lr_mult=0.1))
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler[0].milestones) == (12, [11])
    assert cfg.auto_scale_lr.base_batch_size == 16


@pytest.mark.parametrize("name", [*FULL, *TINY.values()])
def test_config_is_short(name: str) -> None:
    assert len((ROOT / "configs" / f"{name}.py").read_text().splitlines()) <= 10


@pytest.mark.parametrize("name", [*FULL[1:], TINY["ranking"], TINY["pairwise"]])
def test_box_weights_are_the_baselines(name: str) -> None:
    head, baseline = config(name).model.bbox_head, config(FULL[0]).model.bbox_head
    assert not head.balance_boxes
    for loss in ("loss_cls", "loss_bbox", "loss_iou"):
        assert head[loss].loss_weight == baseline[loss].loss_weight
