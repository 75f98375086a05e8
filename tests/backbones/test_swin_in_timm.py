"""timm's Swin and mmdet's give the same features from the same weights."""

import pytest
import torch

from brs_detr.backbones import TimmBackbone
from brs_detr.weights import load_content
from tests.weights.files import SMALL_SWIN, build

NAME, SIZE = "swin_tiny_patch4_window7_224", {"embed_dim": 24, "depths": (2, 2, 2, 2)}


def pair():
    """mmdet's Swin with weights that matter (also biases, norms, tables), and timm's with the same."""
    generator = torch.Generator().manual_seed(0)
    theirs = build(SMALL_SWIN)
    theirs.eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.3 if parameter.dim() == 1 else 0.1, generator=generator)
    ours = TimmBackbone(NAME, out_norm=True, options=SIZE).eval()
    assert load_content(ours, theirs.state_dict(), "mmdet's").complete
    return theirs, ours


@pytest.mark.parametrize("size", [(224, 224), (100, 133), (64, 300), (30, 30)])
def test_same_features(size):
    """Also where maps are no multiple of the window, or smaller than it."""
    theirs, ours = pair()
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for expected, found in zip(theirs(images), ours(images), strict=True):
            assert expected.abs().max() > 0.5
            assert (expected - found).abs().max() < 1e-5 * expected.abs().max()


def test_same_gradients():
    theirs, ours = pair()
    images = torch.randn(1, 3, 100, 133, generator=torch.Generator().manual_seed(1))
    for model in (theirs, ours):
        sum(x.square().mean() for x in model(images)).backward()
    expected, found = theirs.patch_embed.projection.weight.grad, ours.model.patch_embed.proj.weight.grad
    assert (expected - found).abs().max() < 1e-4 * expected.abs().max()
