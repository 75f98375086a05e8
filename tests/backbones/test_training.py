"""A detector with a timm backbone takes a training step."""

import pytest
import torch
from mmengine.config import Config

from tests.reference import ROOT, build, needs_reference, recorded_batch, tiny_config
from tests.weights.files import shell

BACKBONES = ROOT / "configs" / "_base_" / "backbones"


def tiny_detector(detector, name):
    """The recorded tiny `detector` with the backbone of configs/_base_/backbones/`name`."""
    base = Config.fromfile(str(BACKBONES / f"{name}.py"))
    cfg = tiny_config(detector)
    backbone = {**base.timm_backbone, "pretrained": False}
    backbone.pop("_delete_")
    if name.startswith("timm_vit"):
        backbone.update(model_name="vit_tiny_patch16_224", options={"depth": 2})
        base.timm_channels = [192, 192, 192]
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=50)
    cfg.model.backbone, cfg.model.neck.in_channels = backbone, base.timm_channels
    torch.manual_seed(0)
    model = build(cfg)
    assert model.backbone.out_channels == base.timm_channels
    return model


@needs_reference
@pytest.mark.parametrize(
    ("detector", "name"),
    [("co_deformable_detr_r50", "timm_convnext_atto"), ("brs_detr_r50", "timm_vit_small")],
)
def test_a_training_step(detector, name):
    model = tiny_detector(detector, name)
    model.train()
    images, samples = recorded_batch()
    total, parts = model.parse_losses(model.loss(images, samples))
    assert all(torch.isfinite(torch.as_tensor(part)) for part in parts.values())
    total.backward()
    gradients = {key: value.grad for key, value in model.backbone.named_parameters()}
    assert not [key for key, value in gradients.items() if value is None or not value.isfinite().all()]
    assert sum(value.abs().sum() for value in gradients.values()) > 0
    before = {key: value.clone() for key, value in model.backbone.named_parameters()}
    torch.optim.AdamW(model.parameters(), lr=1e-4).step()
    assert not [key for key, value in model.backbone.named_parameters() if torch.equal(value, before[key])]


@pytest.mark.parametrize("name", [path.stem for path in sorted(BACKBONES.glob("timm_*.py"))])
def test_the_configs_state_their_channels(name):
    base = Config.fromfile(str(BACKBONES / f"{name}.py"))
    backbone = {**base.timm_backbone}
    backbone.pop("_delete_")
    model = shell(backbone)
    assert model.out_channels == base.timm_channels
    assert model.strides == [8, 16, 32]
