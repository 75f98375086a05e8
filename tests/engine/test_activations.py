"""Activations that are computed again give the same outputs, gradients and statistics."""

import copy
import re

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from benchmarks.host_reads import batch, tiny_model
from brs_detr.engine.running.activations import Recomputed, checkpoint_activations
from brs_detr.errors import InputError

SWIN = dict(type="Swin", embed_dims=12, depths=[2, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, drop_path_rate=0.3)
RESNET = dict(type="ResNet", depth=18, base_channels=8, stem_channels=8)
TIMM = dict(type="TimmBackbone", options=dict(img_size=64))
VIT = dict(TIMM, model_name="vit_tiny_patch16_224", pyramid=(8, 16, 32), drop_path_rate=0.3)
ENCODER, DECODER = "2 DeformableDetrTransformerEncoderLayer", "2 DeformableDetrTransformerDecoderLayer"
TIMM_SWIN = dict(TIMM, model_name="swin_tiny_patch4_window7_224", drop_path_rate=0.3)


def built(config: dict) -> nn.Module:
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.train()  # some of mmdet's return nothing
    return model


def step(model: nn.Module) -> tuple[dict[str, Tensor], int]:
    """Outputs, gradients and statistics of a training step from a fixed seed, and the most activations held."""
    torch.manual_seed(1)
    held = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal held
        held += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if hasattr(model, "data_preprocessor"):
            data = model.data_preprocessor(batch(), training=True)
            outputs = [model.parse_losses(model.loss(data["inputs"], data["data_samples"]))[0]]
        else:
            outputs = model(torch.randn(1, 3, 64, 64))
    sum(output.square().mean() for output in outputs).backward()
    found = {f"output {k}": output.detach() for k, output in enumerate(outputs)}
    found |= {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return found | dict(model.named_buffers()), held


@pytest.mark.parametrize(
    ("config", "blocks"),
    [
        (SWIN, "5 SwinBlock"),
        (RESNET | {"norm_eval": True}, "8 BasicBlock"),
        (VIT, "1 vit_tiny_patch16_224"),
        (TIMM_SWIN, "1 swin_tiny_patch4_window7_224"),
        ("brs_detr/brs-detr", f"8 BasicBlock, {ENCODER}, {DECODER}"),
    ],
)
def test_results_are_the_same(config: dict | str, blocks: str) -> None:
    stored = tiny_model(config) if isinstance(config, str) else built(config)
    again = copy.deepcopy(stored)
    said = checkpoint_activations(again)
    assert said.endswith(f": {blocks}.")
    again = copy.deepcopy(again)  # as for an average of weights
    assert again.state_dict().keys() == stored.state_dict().keys()
    (expected, most), (found, held) = step(stored), step(again)
    assert found.keys() == expected.keys()
    assert len(found) > 50
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6, msg=name)
    assert held < 0.7 * most


def test_a_batch_norm_learns_once() -> None:
    stored = built(RESNET)
    again = copy.deepcopy(stored)
    checkpoint_activations(again)
    assert sum(isinstance(part, Recomputed) for part in again.modules()) == 8
    (expected, _), (found, _) = step(stored), step(again)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6, msg=name)


def test_a_model_without_blocks() -> None:
    with pytest.raises(InputError, match=re.escape("--checkpoint-activations: Sequential has no block")):
        checkpoint_activations(nn.Sequential(nn.Linear(2, 2)))
