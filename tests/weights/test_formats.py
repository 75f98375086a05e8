"""What each kind of file is taken for, and that it supplies its whole model."""

import pytest
import torch
import torchvision
from torch import nn

from brs_detr.weights import Skeleton, map_state_dict, state_dict_of
from tests.reference import needs_reference
from tests.weights.files import SWIN_TINY, keys, shell, skeleton, timm_weights


def resnet50():
    return shell({"type": "ResNet", "depth": 50})


def swin():
    return shell(SWIN_TINY)


def timm_backbone(name, **options):
    return shell(dict(type="TimmBackbone", model_name=name, **options))


def torchvision_resnet50():
    with Skeleton():
        return torchvision.models.resnet50().state_dict()


def microsoft_swin():
    """Microsoft's names: timm's with the merging at the end of the stage before, and computed buffers."""
    weights = timm_weights("swin_tiny_patch4_window7_224")
    stages = {f"layers.{i + 1}.downsample.": f"layers.{i}.downsample." for i in range(3)}
    renamed = {}
    for name, value in weights.items():
        prefix = name[: len("layers.0.downsample.")]
        name = stages.get(prefix, prefix) + name[len(prefix) :]
        renamed[name.replace("head.fc.", "head.")] = value
    renamed["layers.0.blocks.1.attn_mask"] = torch.empty(64, 49, 49, device="meta")
    renamed["layers.0.blocks.0.attn.relative_position_index"] = torch.empty(49, 49, device="meta")
    return renamed


SWIN = "swin_tiny_patch4_window7_224"
CASES = {
    "torchvision on mmdet": (torchvision_resnet50, resnet50, "ResNet"),
    "torchvision on timm": (torchvision_resnet50, lambda: timm_backbone("resnet50"), "ResNet"),
    "timm ResNet on mmdet": (lambda: timm_weights("resnet50"), resnet50, "ResNet"),
    "Microsoft on mmdet": (microsoft_swin, swin, "Swin of Microsoft"),
    "Microsoft on timm": (microsoft_swin, lambda: timm_backbone(SWIN), "Swin of Microsoft"),
    "timm Swin on mmdet": (lambda: timm_weights(SWIN), swin, "Swin of timm"),
    "timm Swin on timm": (lambda: timm_weights(SWIN), lambda: timm_backbone(SWIN), "Swin of timm"),
    "mmdet Swin on timm": (
        lambda: swin().state_dict(),
        lambda: timm_backbone(SWIN, out_norm=True),
        "Swin of mmdet",
    ),
    "ConvNeXt": (
        lambda: timm_weights("convnext_atto"),
        lambda: timm_backbone("convnext_atto"),
        "timm",
    ),
    "EfficientNet": (
        lambda: timm_weights("efficientnet_b0"),
        lambda: timm_backbone("efficientnet_b0"),
        "timm",
    ),
    "ViT": (
        lambda: timm_weights("vit_tiny_patch16_224"),
        lambda: timm_backbone("vit_tiny_patch16_224", pyramid=(8, 16, 32)),
        "timm",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_backbone_files_supply_their_whole_backbone(case):
    weights, backbone, source = CASES[case]
    model = backbone()
    mapped, report = map_state_dict(weights(), model)
    assert report.complete, report
    assert source in report.source
    absent = {name for name in model.state_dict() if name not in mapped}
    assert all(name.startswith(("norm", "pyramid.")) or name.endswith("_index") for name in absent)
    assert all(mapped[name].shape == model.state_dict()[name].shape for name in mapped)
    heads = ("head", "classifier", "fc.", "norm", "conv_head", "bn2", "patch", "layers", "stages")
    assert all(name.startswith(heads) for name in report.unused)
    assert not any("weight" in name for name in report.unused if name.startswith(("layers", "stages")))


@pytest.mark.parametrize(
    ("weights", "model", "lost"),
    [
        (torchvision_resnet50, swin, "conv1.weight"),
        (microsoft_swin, resnet50, "patch_embed.proj.weight"),
        (lambda: timm_weights("convnext_atto"), lambda: timm_backbone("convnextv2_atto"), None),
        (lambda: timm_weights("resnet34"), lambda: timm_backbone("resnet18"), "layer1.2.conv1.weight"),
        (lambda: timm_weights("resnet18"), lambda: timm_backbone("resnet34"), None),
    ],
)
def test_files_of_other_backbones_are_not_complete(weights, model, lost):
    _, report = map_state_dict(weights(), model())
    assert not report.complete
    assert lost is None or lost in report.unexpected


@needs_reference
def test_backbone_files_on_a_detector():
    model = skeleton("co_detr/co-deformable-detr_r50_1x_coco")
    mapped, report = map_state_dict(torchvision_resnet50(), model)
    assert report.complete
    assert mapped.keys() == {name for name in model.state_dict() if name.startswith("backbone.")}
    assert report.unused == ["fc.weight", "fc.bias"]


@needs_reference
def test_the_backbone_of_a_detector_file():
    for name, backbone in (("co_deformable_detr_r50", resnet50), ("brs_detr_swin_tiny", swin)):
        model = backbone()
        mapped, report = map_state_dict(keys(name), model)
        assert report.complete
        assert mapped.keys() == model.state_dict().keys()


@needs_reference
@pytest.mark.parametrize(
    ("name", "backbone", "options"),
    [("co_deformable_detr_r50", "resnet50", {}), ("brs_detr_swin_tiny", SWIN, {"out_norm": True})],
)
def test_released_detectors_supply_timm_backbones(name, backbone, options):
    model = nn.Module()
    model.backbone = timm_backbone(backbone, **options)
    model.neck = skeleton("brs_detr/brs-detr_swin-t_1x_coco").neck
    mapped, report = map_state_dict(keys(name), model)
    theirs = {key for key in model.state_dict() if key.startswith("backbone.")}
    assert theirs <= mapped.keys()
    assert not [key for key in report.unexpected if key.startswith("backbone.")]


@pytest.mark.parametrize("model", ["own", "mmdet"])
def test_own_and_mmdet_detectors_keep_their_names(model):
    own = skeleton("brs_detr/brs-detr_swin-t_1x_coco")
    detector = own if model == "own" else nn.ModuleDict({"backbone": resnet50()})
    mapped, report = map_state_dict(detector.state_dict(), detector)
    assert report.complete
    assert not report.renamed
    assert mapped.keys() == detector.state_dict().keys()
    assert ("of this project," in report.source) == (model == "own")


WEIGHTS = {"conv.weight": torch.ones(1)}
MANY = {f"layer{i}.weight": torch.ones(1) for i in range(9)}
AVERAGED = {"conv.weight": torch.full((1,), 2.0)}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WEIGHTS, WEIGHTS),
        ({"state_dict": WEIGHTS, "meta": {}, "optimizer": {"state": {}}}, WEIGHTS),
        ({"model": WEIGHTS, "epoch": 3}, WEIGHTS),
        ({"model": WEIGHTS, "ema": {"module": AVERAGED, "updates": 5}}, AVERAGED),
        ({"state_dict": WEIGHTS, "state_dict_ema": AVERAGED}, AVERAGED),
        ({"state_dict": WEIGHTS, "ema_state_dict": {"module.conv.weight": torch.zeros(1)}}, WEIGHTS),
        ({"state_dict": {"module." + name: value for name, value in WEIGHTS.items()}}, WEIGHTS),
        ({"model": {"module._orig_mod." + name: value for name, value in WEIGHTS.items()}}, WEIGHTS),
        ({"model": WEIGHTS, "ema": None}, WEIGHTS),
        ({"epoch": 3}, {}),
        ({"state_dict": MANY, "ema": {"decay": torch.ones(1)}}, MANY),
        ({"state_dict": MANY, "ema": torch.ones(1)}, MANY),
        ({**MANY, "model": {"decay": torch.ones(1)}}, MANY),
        ({"state_dict": MANY, "ema": {"module": {name: MANY[name] for name in list(MANY)[:5]}}}, "the averaged 5"),
        ({"state_dict": {5: torch.ones(1), "module.a": torch.ones(1)}}, {5: torch.ones(1), "module.a": torch.ones(1)}),
    ],
)
def test_unwrapping(content, expected):
    found = state_dict_of(content)
    assert len(found) == 5 if expected == "the averaged 5" else found == expected
