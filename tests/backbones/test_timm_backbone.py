"""Any timm model as a backbone: maps, freezing, memory, weights, clear errors."""

import copy

import pytest
import timm
import torch
from torch import nn

from brs_detr.backbones import TimmBackbone
from brs_detr.backbones.timm_backbone import SimplePyramid
from brs_detr.errors import InputError
from tests.weights.files import build

SMALL = {
    "resnet18": {},
    "convnext_atto": {},
    "swin_tiny_patch4_window7_224": {"embed_dim": 24, "depths": (2, 2, 2, 2)},
    "mobilenetv3_small_050": {},
    "vit_tiny_patch16_224": {"depth": 3},
}


def backbone(name, **kwargs):
    torch.manual_seed(0)
    options = {**SMALL[name], **kwargs.pop("options", {})}
    pyramid = {"pyramid": (8, 16, 32)} if name.startswith("vit") else {}
    return TimmBackbone(name, options=options, **pyramid, **kwargs)


def images(height=70, width=101):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def mean_square(maps):
    return sum(x.square().mean() for x in maps)


@pytest.mark.parametrize("name", SMALL)
def test_maps_of_any_image_size_fit_a_neck(name):
    model = backbone(name, drop_path_rate=0.1).eval()
    neck = build({"type": "FPN", "in_channels": model.out_channels, "out_channels": 8, "num_outs": 4})
    assert model.strides == [8, 16, 32]
    for size in ((64, 96), (70, 101)):
        maps = model(images(*size))
        assert [x.shape[1] for x in maps] == model.out_channels
        for x, stride in zip(maps, model.strides, strict=True):
            assert x.is_contiguous()
            for side, length in zip(x.shape[-2:], size, strict=True):
                assert length / stride - 1 <= side < length / stride + 2
        assert len(neck(maps)) == 4


def test_out_indices_count_from_either_end():
    last = backbone("convnext_atto").eval()
    first = backbone("convnext_atto", out_indices=(0, 1)).eval()
    both = backbone("convnext_atto", out_indices=(1, 2, 3)).eval()
    assert first.strides == [4, 8]
    assert both.strides == last.strides
    assert all(torch.equal(a, b) for a, b in zip(both(images()), last(images()), strict=True))
    assert torch.equal(first(images())[1], last(images())[0])


@pytest.mark.parametrize("name", SMALL)
def test_recomputing_activations_changes_no_gradient(name):
    stored = backbone(name).eval()
    recomputed = backbone(name, with_cp=True).eval()
    recomputed.load_state_dict(stored.state_dict())
    for model in (stored, recomputed):
        mean_square(model(images())).backward()
    for parameter, other in zip(stored.parameters(), recomputed.parameters(), strict=True):
        assert torch.allclose(parameter.grad, other.grad, rtol=1e-4, atol=1e-7)


def test_recomputing_happens():
    calls = {False: 0, True: 0}
    for with_cp in calls:
        model = backbone("convnext_atto", with_cp=with_cp)

        def count(*args, with_cp=with_cp):
            calls[with_cp] += 1

        model.get_submodule("model.stages_1").register_forward_pre_hook(count)
        mean_square(model(images())).backward()
    assert calls == {False: 1, True: 2}


@pytest.mark.parametrize(
    ("name", "stages", "last", "next_one"),
    [
        ("resnet18", 0, "model.bn1.bias", "model.layer1.0.conv1.weight"),
        ("resnet18", 1, "model.layer1.1.bn2.bias", "model.layer2.0.conv1.weight"),
        ("convnext_atto", 2, "model.stages_1.blocks.1.mlp.fc2.bias", "model.stages_2.downsample.0.weight"),
        (
            "swin_tiny_patch4_window7_224",
            1,
            "model.layers_0.blocks.1.mlp.fc2.bias",
            "model.layers_1.downsample.norm.weight",
        ),
        ("vit_tiny_patch16_224", 2, "model.model.blocks.1.mlp.fc2.bias", "model.model.blocks.2.norm1.weight"),
    ],
)
def test_frozen_stages(name, stages, last, next_one):
    model = backbone(name, frozen_stages=stages, drop_path_rate=0.5, with_cp=True).train()
    frozen = [key for key, value in model.named_parameters() if not value.requires_grad]
    trained = [key for key, value in model.named_parameters() if value.requires_grad]
    assert frozen[-1] == last
    assert trained[0] == next_one
    before = copy.deepcopy(model.state_dict())
    mean_square(model(images())).backward()
    assert all(value.grad is None for key, value in model.named_parameters() if key in frozen)
    assert all(value.grad is not None for key, value in model.named_parameters() if key in trained)
    statistics = [key for key in before if "running" in key]
    changed = {key for key in statistics if not torch.equal(before[key], model.state_dict()[key])}
    inside = {key.rpartition(".")[0] for key in frozen}
    assert not {key for key in changed if key.rpartition(".")[0] in inside}
    assert not statistics or changed
    for key, module in model.named_modules():
        if any(name.startswith(f"{key}.") for name in frozen) and not any(
            name.startswith(f"{key}.") for name in trained
        ):
            assert not module.training


def test_norm_eval_keeps_all_statistics():
    model = backbone("resnet18", norm_eval=True).train()
    before = copy.deepcopy(model.state_dict())
    model(images())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.get_submodule("model.layer4.0.conv1").training
    assert all(value.requires_grad for value in model.parameters())


def test_drop_path_reaches_the_model():
    rates = [m.drop_prob for m in backbone("convnext_atto", drop_path_rate=0.3).modules() if hasattr(m, "drop_prob")]
    assert max(rates) == pytest.approx(0.3)
    assert min(rates) < 0.1


def test_out_norm_is_a_layer_norm_over_channels():
    plain, normed = backbone("convnext_atto").eval(), backbone("convnext_atto", out_norm=True).eval()
    normed.load_state_dict(plain.state_dict(), strict=False)
    for x, y, channels in zip(plain(images()), normed(images()), normed.out_channels, strict=True):
        assert torch.allclose(nn.functional.layer_norm(x.movedim(1, -1), (channels,)), y.movedim(1, -1), atol=1e-5)
    assert {name for name, _ in normed.named_children()} == {"model", "norm1", "norm2", "norm3"}


@pytest.mark.parametrize(("stride", "strides"), [(16, (4, 8, 16, 32, 64)), (14, (7, 14, 28))])
def test_simple_pyramid(stride, strides):
    pyramid = SimplePyramid(6, stride, strides)
    maps = pyramid(torch.randn(1, 6, 8, 12))
    assert [tuple(x.shape) for x in maps] == [
        (1, 6, 8 * stride // wanted, 12 * stride // wanted) if wanted <= stride else tuple(x.shape)
        for x, wanted in zip(maps, strides, strict=True)
    ]
    assert maps[-1].shape[-1] == -(-12 * stride // strides[-1])
    with pytest.raises(ValueError, match="power of 2"):
        SimplePyramid(6, stride, (12,))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("convnext_ato", {}, "timm has no model convnext_ato"),
        ("vit_tiny_patch16_224", {}, r"gives maps of stride 16 only: set pyramid=\(8, 16, 32\)"),
        ("hiera_tiny_224", {}, "its images have one size"),
        ("convnext_atto", {"out_indices": (7,)}, "cannot be a backbone as asked"),
        ("convnext_atto", {"options": {"colour": 1}}, "colour"),
        ("hrnet_w18_small", {"with_cp": True}, "no gradient checkpointing"),
        ("convnext_atto", {"pretrained": True, "init_cfg": {"type": "Pretrained"}}, "not both"),
    ],
)
def test_errors_say_what_helps(name, options, message):
    with pytest.raises(InputError, match=message):
        TimmBackbone(name, **options)


def test_a_single_map_of_a_plain_transformer():
    model = TimmBackbone("vit_tiny_patch16_224", out_indices=(-1,), options={"depth": 2}).eval()
    assert [tuple(x.shape) for x in model(images(64, 96))] == [(2, 192, 4, 6)]


def test_weights_from_a_local_file(tmp_path):
    torch.manual_seed(3)
    whole = timm.create_model("convnext_atto").eval()
    torch.save(whole.state_dict(), tmp_path / "convnext.pth")
    init_cfg = {"type": "PretrainedWeights", "checkpoint": str(tmp_path / "convnext.pth")}
    model = backbone("convnext_atto", init_cfg=init_cfg)
    model.init_weights()
    with torch.no_grad():
        expected = whole.forward_intermediates(images(), indices=[1, 2, 3], intermediates_only=True)
        maps = model.eval()(images())
    assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(maps, expected, strict=True))


def test_timms_own_weights(tmp_path):
    """timm's loading, from a file that stands for its cache."""
    torch.manual_seed(3)
    whole = timm.create_model("convnext_atto")
    torch.save(whole.state_dict(), tmp_path / "convnext.pth")
    overlay = {"file": str(tmp_path / "convnext.pth")}
    model = backbone("convnext_atto", pretrained=True, options={"pretrained_cfg_overlay": overlay})
    model.init_weights()
    loaded = model.state_dict()
    names = {ours: theirs for theirs, ours in model.timm_names.items() if ours}
    assert names.keys() == loaded.keys()
    assert all(torch.equal(loaded[ours], whole.state_dict()[theirs]) for ours, theirs in names.items())


def test_weights_that_cannot_be_fetched(tmp_path):
    overlay = {"file": str(tmp_path / "absent.pth")}
    model = backbone("convnext_atto", pretrained=True, options={"pretrained_cfg_overlay": overlay})
    with pytest.raises(InputError, match="give a file"):
        model.init_weights()


@pytest.mark.parametrize(
    ("name", "besides"),
    [("vit_small_patch14_dinov2", {"mask_token": torch.zeros(1, 48)}), ("vit_small_patch16_dinov3", {})],
)
def test_weights_of_dino_at_another_image_size(name, besides, tmp_path):
    """Its features are those of timm's model made for that size, from the same file."""
    torch.manual_seed(3)
    small = {"depth": 2, "embed_dim": 48, "num_heads": 2}
    path = str(tmp_path / "dino.pth")
    torch.save(timm.create_model(name, **small).state_dict() | besides, path)
    model = TimmBackbone(name, (-1,), options=small, init_cfg={"type": "PretrainedWeights", "checkpoint": path})
    model.init_weights()
    whole = timm.create_model(name, True, pretrained_cfg_overlay={"file": path}, img_size=(112, 224), **small)
    sample = images(112, 224)
    with torch.no_grad():
        (expected,) = whole.eval().forward_intermediates(sample, indices=[1], norm=False, intermediates_only=True)
        (found,) = model.eval()(sample)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
