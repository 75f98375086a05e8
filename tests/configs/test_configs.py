"""Every config of the DETR families builds, takes a real optimiser step, and evaluates."""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from tests.reference import ROOT
from tests.samples import make_batch

CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.py") if "_base_" not in p.parts)
SIZES = {  # the models of each family
    "co_detr": ("_r50_1x_coco", "_swin-t_1x", "_swin-l_1x", "_tiny_digits"),
    "brs_detr": ("_r50_1x_coco", "_swin-t_1x", "_swin-l_1x", "_tiny_digits"),
    "rs_detr": ("_r50_1x_coco", "_swin-t_1x", "_swin-l_1x", "_tiny_digits"),
    "co_dino": ("_r50_1x_coco", "_tiny_digits"),
    "brs_dino": ("_r50_1x_coco", "_swin-l_1x", "_tiny_digits"),
    "dino": ("_r50_1x_coco", "_tiny_digits"),
    "ddq": ("_r50_1x_coco", "_tiny_digits"),
}
FAMILIES = tuple(SIZES)
DETR = [p for p in CONFIGS if p.parent.name in FAMILIES]


def config_name(path: Path) -> str:
    return path.stem


def build_model(cfg: Config) -> nn.Module:
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.init_cfg = None  # no download
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def number_of_classes(cfg: Config) -> int:
    head = cfg.model.get("bbox_head") or cfg.model.roi_head.bbox_head
    return (head[0] if isinstance(head, list) else head).num_classes


def train_one_step(
    model: nn.Module, cfg: Config, num_boxes: list[int], size: tuple[int, int] = (128, 160)
) -> dict[str, torch.Tensor]:
    """One step of the config's own optimiser, whose gradients are kept. Returns the logged values."""
    optim_wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    batch = make_batch(num_boxes, number_of_classes(cfg), size=size)
    batch = model.train().data_preprocessor(batch, training=True)
    loss, logged = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
    optim_wrapper.backward(loss)
    optim_wrapper.step()
    return logged


def test_families_are_complete() -> None:
    for family in FAMILIES:
        stems = " ".join(p.stem for p in DETR if p.parent.name == family)
        assert all(model in stems for model in SIZES[family])


@pytest.mark.parametrize("path", CONFIGS, ids=config_name)
def test_config_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60


LARGE = re.compile("swin-l|dinov")  # or tried in tests/backbones


@pytest.mark.parametrize("path", [p for p in DETR if not LARGE.search(p.stem)], ids=config_name)
def test_training_step(path: Path) -> None:
    torch.manual_seed(0)
    cfg = Config.fromfile(str(path))
    cfg.model.num_queries = min(cfg.model.num_queries, 100)  # 900 take half a minute, and small images have no more
    if "rpn_proposal" in cfg.model.get("train_cfg", {}):
        cfg.model.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=100)  # thousands cost seconds, too
    model = build_model(cfg)
    before = [p.detach().clone() for p in model.bbox_head.parameters()]
    logged = train_one_step(model, cfg, [3, 2], size=(64, 96))  # seconds less, and levels enough
    assert all(torch.isfinite(value).all() for value in logged.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, model.bbox_head.parameters(), strict=True))
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused


@pytest.mark.parametrize("path", [p for p in DETR if "swin-l" in p.stem], ids=config_name)
def test_largest_models_build_and_predict(path: Path) -> None:
    cfg = Config.fromfile(str(path))
    model = build_model(cfg).eval()
    with torch.no_grad():
        (sample,) = model.test_step(make_batch([1], number_of_classes(cfg), size=(160, 160)))
    assert sample.pred_instances.bboxes.shape == (cfg.model.test_cfg.detr.max_per_img, 4)
