"""Compiled parts of a model give the same outputs and gradients, under the same names."""

import copy
import re
from collections.abc import Iterator

import pytest
import torch
from mmdet.models.backbones import ResNet
from mmdet.models.layers import DeformableDetrTransformerEncoder
from torch import Tensor, nn
from torch._dynamo.utils import counters

from brs_detr.engine.running import compiling
from brs_detr.engine.running.activations import checkpoint_activations
from brs_detr.errors import InputError

CHANNELS = 16
ATTENTION = dict(embed_dims=CHANNELS, num_heads=2, num_levels=1, dropout=0.0)
FFN = dict(embed_dims=CHANNELS, feedforward_channels=32, ffn_drop=0.0)


class Detector(nn.Module):
    """One stage of a ResNet and one layer of an encoder."""

    def __init__(self) -> None:
        super().__init__()
        one = dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
        self.backbone = ResNet(18, base_channels=CHANNELS, stem_channels=8, norm_eval=True, **one)
        self.encoder = DeformableDetrTransformerEncoder(1, dict(self_attn_cfg=ATTENTION, ffn_cfg=FFN))

    def forward(self, images: Tensor) -> Tensor:
        (maps,) = self.backbone(images)
        tokens = maps.flatten(2).transpose(1, 2)
        return self.encoder(
            tokens,
            query_pos=tokens.detach(),
            key_padding_mask=tokens[..., 0] > 1e9,
            spatial_shapes=torch.tensor([maps.shape[2:]]),
            level_start_index=torch.tensor([0]),
            valid_ratios=torch.ones(len(images), 1, 2),
        )


def steps(model: Detector) -> Iterator[Tensor]:
    """Outputs and gradients, of batches of two sizes."""
    for size in ((32, 48), (64, 40)):
        images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
        model.zero_grad()
        output = model(images)
        output.square().mean().backward()
        yield from (output.detach(), *(weight.grad for weight in model.parameters() if weight.requires_grad))


@pytest.mark.parametrize(("again", "backend"), [(False, "aot_eager"), (True, "eager")])
def test_results_are_the_same(again: bool, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "BACKEND", backend)
    torch.manual_seed(0)
    plain = Detector().train()
    compiled = copy.deepcopy(plain)
    if again:
        checkpoint_activations(compiled)
    torch._dynamo.reset()
    counters.clear()
    assert compiling.compile_parts(compiled).endswith(": backbone." if again else ": backbone, encoder.layers.0.")
    for found, expected in zip(steps(compiled), steps(plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    breaks = sum(counters["graph_break"].values())
    assert (counters["stats"]["unique_graphs"] == 1 and breaks == 0) if again else breaks == 4  # all in the attention
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert copy.deepcopy(compiled).backbone._compiled_call_impl is None  # as for an average of weights


def test_a_model_without_parts() -> None:
    with pytest.raises(InputError, match="--compile: Sequential has no backbone"):
        compiling.compile_parts(nn.Sequential())


def test_a_machine_that_cannot_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "inductor, but not here")
    with pytest.raises(InputError, match=re.escape("torch.compile does not work here (")):
        compiling.check(torch.device("cpu"))
