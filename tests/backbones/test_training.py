"""A detector with a timm backbone takes a training step."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from timm.models import get_pretrained_cfg

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
        backbone["options"] = {"depth": 2}
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=50)
    cfg.model.backbone, cfg.model.neck.in_channels = backbone, base.timm_channels
    torch.manual_seed(0)
    model = build(cfg)
    assert model.backbone.out_channels == base.timm_channels
    return model


@needs_reference
@pytest.mark.parametrize(
    ("detector", "name"),
    [("co_deformable_detr_r50", "timm_convnext_atto"), ("brs_detr_r50", "timm_vit_dinov3_small")],
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
    assert model.strides == base.get("timm_strides", [8, 16, 32])[:3]
    if backbone.get("pretrained") or backbone.get("init_cfg"):  # they want the normalisation that timm states
        trained = get_pretrained_cfg(backbone["model_name"])
        for kind in ("mean", "std"):
            stated = [255 * value for value in getattr(trained, kind)]
            assert base.timm_normalisation[kind] == pytest.approx(stated, abs=1)


def test_patches_of_14_pixels_and_the_heads_anchors_lie_on_each_other():
    """At any image size, padded by the preprocessor, maps have the sizes that the anchors' strides tell."""
    cfg = Config.fromfile(str(ROOT / "configs" / "brs_detr" / "brs-detr_dinov2-s_1x_coco.py")).model
    preprocessor, backbone = (
        MODELS.build(cfg.data_preprocessor),
        MODELS.build({**cfg.backbone, "options": {"depth": 1}}),
    )
    data = {"inputs": [torch.zeros(3, 90, 131)], "data_samples": [DetDataSample(metainfo={"img_shape": (90, 131)})]}
    images = preprocessor(data)["inputs"]
    assert images.shape[-2:] == (112, 140)
    for head in ("rpn_head", "atss_head"):
        strides = cfg[head].anchor_generator.strides
        assert cfg.roi_head.bbox_roi_extractor.featmap_strides == strides[:4]
        for x, stride in zip(backbone(images), strides, strict=False):
            assert [side * stride for side in x.shape[-2:]] == [112, 140]
