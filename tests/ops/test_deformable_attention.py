"""Deformable attention against a loop over its samples, values and gradients, on every path."""

import math

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from brs_detr.ops import deformable_attention
from brs_detr.ops.float32_attention import Float32Attention
from brs_detr.timing.counting import peak_memory

# isort: split
from mmcv.ops import multi_scale_deform_attn
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch

SIZES = [(4, 5), (2, 3)]


def attention_inputs() -> tuple[torch.Tensor, ...]:
    """value, shapes, level starts, locations (some outside the maps), weights; float64."""
    generator = torch.Generator().manual_seed(8)
    batch, heads, channels, queries, points = 2, 2, 3, 4, 2
    shapes = torch.tensor(SIZES)
    areas = shapes.prod(1)
    value = torch.randn(batch, int(areas.sum()), heads, channels, generator=generator, dtype=torch.float64)
    locations = torch.rand(batch, queries, heads, len(SIZES), points, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(batch, queries, heads, len(SIZES), points, generator=generator, dtype=torch.float64)
    return value, shapes, areas.cumsum(0) - areas, locations * 1.4 - 0.2, weights


def zero_padded(feature: torch.Tensor, row: int, column: int) -> torch.Tensor:
    inside = 0 <= row < feature.shape[0] and 0 <= column < feature.shape[1]
    return feature[row, column] if inside else torch.zeros_like(feature[0, 0])


def loop_attention(
    value: torch.Tensor,
    shapes: torch.Tensor,
    starts: torch.Tensor,
    locations: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """The definition: sum over levels and points of weight times the bilinear sample, one head at a time."""
    batch, queries, heads, levels, points, _ = locations.shape
    output = []
    for b in range(batch):
        for q in range(queries):
            for g in range(heads):
                total = torch.zeros_like(value[0, 0, 0])
                for level in range(levels):
                    h, w = shapes[level].tolist()
                    start = int(starts[level])
                    feature = value[b, start : start + h * w, g].view(h, w, -1)
                    for k in range(points):
                        x, y = locations[b, q, g, level, k] * torch.tensor([w, h]) - 0.5
                        left, top = math.floor(x.detach()), math.floor(y.detach())
                        dx, dy = x - left, y - top
                        total = total + weights[b, q, g, level, k] * (
                            zero_padded(feature, top, left) * (1 - dy) * (1 - dx)
                            + zero_padded(feature, top, left + 1) * (1 - dy) * dx
                            + zero_padded(feature, top + 1, left) * dy * (1 - dx)
                            + zero_padded(feature, top + 1, left + 1) * dy * dx
                        )
                output.append(total)
    return torch.stack(output).view(batch, queries, -1)


def gradients(output: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    upstream = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return list(torch.autograd.grad(output, inputs, upstream))


@pytest.mark.parametrize("path", ["cpu", "gpu formula"])
def test_deformable_attention_forward_and_gradients(path: str) -> None:
    value, shapes, starts, locations, weights = attention_inputs()
    inputs = [value.requires_grad_(), locations.requires_grad_(), weights.requires_grad_()]
    expected = loop_attention(value, shapes, starts, locations, weights)
    if path == "cpu":
        output = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    else:
        output = MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)
    torch.testing.assert_close(output, expected)
    for ours, reference in zip(gradients(output, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(ours, reference)


def test_deformable_attention_gradcheck() -> None:
    value, shapes, starts, locations, weights = attention_inputs()
    inputs = [tensor[:1, :] if tensor is value else tensor[:1, :1] for tensor in (value, locations, weights)]
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]

    def attend(v: torch.Tensor, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return MultiScaleDeformableAttnFunction.apply(v, shapes, starts, x, w, 64)

    assert torch.autograd.gradcheck(attend, inputs)


def test_samples_of_one_level_exist_at_a_time() -> None:
    batch, heads, channels, queries, levels, points = 1, 2, 16, 200, 4, 4
    value = torch.randn(batch, levels * 4, heads, channels, requires_grad=True)
    locations = torch.rand(batch, queries, heads, levels, points, 2, requires_grad=True)
    weights = torch.rand(batch, queries, heads, levels, points, requires_grad=True)
    shapes = torch.tensor([(2, 2)] * levels)

    def step() -> None:
        Float32Attention.apply(value, shapes, shapes.prod(1), locations, weights, 64).sum().backward()

    samples = weights.numel() * channels * weights.itemsize
    assert peak_memory(step, value.device) < 1.2 * samples  # three times and more, if they all did


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_samples_are_taken_at_full_precision(dtype: torch.dtype) -> None:
    """As under autocast: values of half precision, locations and weights of float32."""
    generator = torch.Generator().manual_seed(3)
    shapes, starts = torch.tensor([(100, 160)]), torch.tensor([0])
    value = torch.randn(1, 16_000, 2, 4, generator=generator).to(dtype).requires_grad_()
    locations = torch.rand(1, 50, 2, 1, 4, 2, generator=generator).requires_grad_()
    weights = torch.rand(1, 50, 2, 1, 4, generator=generator).softmax(-1).requires_grad_()
    output = Float32Attention.apply(value, shapes, starts, locations, weights, 64)
    exact = [each.detach().double().requires_grad_() for each in (value, locations, weights)]
    expected = multi_scale_deformable_attn_pytorch(exact[0], shapes, *exact[1:])
    assert output.dtype == dtype
    bound = 2 * torch.finfo(dtype).eps

    def error(ours: torch.Tensor, reference: torch.Tensor) -> float:
        return float((ours - reference).detach().norm() / reference.detach().norm())

    assert error(output, expected) < bound
    inputs = [value, locations, weights]
    for ours, given, reference in zip(gradients(output, inputs), inputs, gradients(expected, exact), strict=True):
        assert ours.dtype == given.dtype
        assert error(ours, reference) < 2 * bound


def test_it_can_be_computed_again() -> None:
    """As --checkpoint-activations does on a GPU."""
    value, shapes, starts, *others = attention_inputs()
    inputs = [each.requires_grad_() for each in (value, *others)]

    def attend(value: torch.Tensor, locations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return Float32Attention.apply(value, shapes, starts, locations, weights, 64)

    expected = gradients(attend(*inputs), inputs)
    found = gradients(checkpoint(attend, *inputs, use_reentrant=False), inputs)
    assert all(map(torch.equal, found, expected))


def test_deformops_agrees_with_grid_sample() -> None:
    """Its GPU kernels where there is one, its plain implementation elsewhere: the call is right."""
    pytest.importorskip("deformops", reason="deformops is not installed (it needs Python 3.12)")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    operands = [tensor.to(device) for tensor in attention_inputs()]
    operands = [tensor.float() if tensor.is_floating_point() else tensor for tensor in operands]
    inputs = [operands[i].requires_grad_() for i in (0, 3, 4)]
    sampler = deformable_attention._deformops_sampler()
    assert sampler is not None
    ours, reference = sampler(*operands), deformable_attention.grid_sample_attention(*operands)
    torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5)
    upstream = torch.randn_like(reference)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(reference, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_detectors_take_it() -> None:
    import brs_detr.registry  # noqa: F401

    assert multi_scale_deform_attn.MultiScaleDeformableAttnFunction is Float32Attention
