"""Deformable convolution against a sum over its kernel points, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import brs_detr.ops  # noqa: F401  (first: it makes mmcv.ops importable)

# isort: split
import mmcv.ops
from mmdet.models import ResNet

STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS = (1, 2), (2, 1), (1, 2), 2, 3
KERNEL, INPUT, OUTPUT = (3, 2), (5, 7), (7, 4)


def sample(maps: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear interpolation of (B, C, H, W) at (B, H', W') pixels, zero outside."""
    height, width = maps.shape[-2:]
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
    return F.grid_sample(maps, grid, padding_mode="zeros", align_corners=True)


def reference(input: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    batch, points = len(input), KERNEL[0] * KERNEL[1]
    offset = offset.view(batch, OFFSET_GROUPS, points, 2, *OUTPUT)
    mask = mask.view(batch, OFFSET_GROUPS, points, *OUTPUT)
    rows = (torch.arange(OUTPUT[0]) * STRIDE[0] - PADDING[0])[:, None]
    columns = (torch.arange(OUTPUT[1]) * STRIDE[1] - PADDING[1])[None]
    total = bias[:, None, None].expand(batch, len(bias), *OUTPUT)
    for point in range(points):
        i, j = divmod(point, KERNEL[1])
        seen = [
            sample(maps, rows + i * DILATION[0] + shift[:, 0], columns + j * DILATION[1] + shift[:, 1]) * scale[:, None]
            for maps, shift, scale in zip(
                input.chunk(OFFSET_GROUPS, 1), offset[:, :, point].unbind(1), mask[:, :, point].unbind(1), strict=True
            )
        ]
        total = total + F.conv2d(torch.cat(seen, 1), weight[:, :, i, j, None, None], groups=GROUPS)
    return total


def random_arguments(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Input, offset, mask, weight, bias. Offsets reach beyond the image."""
    generator = torch.Generator().manual_seed(0)
    points = OFFSET_GROUPS * KERNEL[0] * KERNEL[1]
    shapes = [(2, 12, *INPUT), (2, 2 * points, *OUTPUT), (2, points, *OUTPUT), (4, 12 // GROUPS, *KERNEL), (4,)]
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    return [tensor.requires_grad_() for tensor in tensors]


def assert_same(output: Tensor, expected: Tensor, arguments: list[Tensor]) -> None:
    torch.testing.assert_close(output, expected)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    actual = torch.autograd.grad(output, arguments, upstream)
    torch.testing.assert_close(actual, torch.autograd.grad(expected, arguments, upstream))


def test_with_mask_values_and_gradients() -> None:
    arguments = random_arguments()
    output = mmcv.ops.modulated_deform_conv2d(*arguments, STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS)
    assert_same(output, reference(*arguments), arguments)


def test_with_mask_without_bias() -> None:
    *arguments, bias = random_arguments()
    output = mmcv.ops.modulated_deform_conv2d(*arguments, None, STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS)
    assert_same(output, reference(*arguments, torch.zeros_like(bias)), arguments)


def test_without_mask_values_and_gradients() -> None:
    input, offset, mask, weight, bias = random_arguments()
    output = mmcv.ops.deform_conv2d(input, offset, weight, STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS)
    expected = reference(input, offset, torch.ones_like(mask), weight, torch.zeros_like(bias))
    assert_same(output, expected, [input, offset, weight])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_keeps_its_type(dtype: torch.dtype) -> None:
    arguments = random_arguments(dtype)
    output = mmcv.ops.modulated_deform_conv2d(*arguments, STRIDE, PADDING, DILATION, GROUPS, OFFSET_GROUPS)
    full = reference(*(argument.double() for argument in arguments))
    output.float().sum().backward()
    assert {output.dtype, *(argument.grad.dtype for argument in arguments)} == {dtype}
    torch.testing.assert_close(output.double(), full, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", ["DCN", "DCNv2"])
def test_backbone_starts_as_its_plain_self_and_learns_its_offsets(kind: str) -> None:
    """Offsets start at zero; version 2 then halves, as its mask starts at sigmoid(0)."""
    backbone = ResNet(
        50,
        base_channels=16,
        dcn=dict(type=kind, deform_groups=4),
        stage_with_dcn=(False, True, True, True),
        zero_init_residual=False,
    )
    layer = backbone.layer2[1].conv2
    maps = torch.randn(2, 32, 6, 6)
    plain = F.conv2d(maps, layer.weight, padding=1)
    torch.testing.assert_close(layer(maps), plain if kind == "DCN" else plain / 2, rtol=1e-4, atol=1e-5)
    sum(level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad.abs().max() > 0 for name, p in backbone.named_parameters() if "conv_offset.weight" in name)
