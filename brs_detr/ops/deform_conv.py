"""Deformable convolution (ICCV 2017; CVPR 2019 with a mask) with the signatures of mmcv's extension, by torchvision.

In all of them input is (B, C, H, W), weight (C', C / group, h, w), offset (B, 2 * deformable_group * h * w, H', W')
with y before x, in pixels, mask the same without the factor 2, output (B, C', H', W'). What a function computes it
writes into the arguments called output or grad_*. Those of version 1 have no bias and no mask.
"""

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from brs_detr.ops.box_ops import at_least_float32


def _geometry(names: dict[str, int], *, version: int) -> list[int]:
    """Stride, padding and dilation, height before width, then the two numbers of groups."""
    sides = ("dH dW padH padW dilationH dilationW", "stride_h stride_w pad_h pad_w dilation_h dilation_w")
    return [names[name] for name in (*sides[version - 1].split(), "group", "deformable_group")]


def _with_mask(mask: Tensor) -> bool:
    return mask.dim() == 4


def _forward(input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor, geometry: list[int]) -> Tensor:
    tensors = [at_least_float32(tensor) for tensor in (input, weight, offset, mask, bias)]
    return torch.ops.torchvision.deform_conv2d(*tensors, *geometry, _with_mask(mask))


def _backward(*tensors: Tensor, geometry: list[int]) -> tuple[Tensor, ...]:
    """Gradients of input, weight, offset, mask and bias. tensors: the output's gradient, then these."""
    grad, input, weight, offset, mask, bias = (at_least_float32(tensor) for tensor in tensors)
    return torch.ops.torchvision._deform_conv2d_backward(
        grad, input, weight, offset, mask, bias, *geometry, _with_mask(mask)
    )


def _no_mask(input: Tensor) -> Tensor:
    """A column, by which `_with_mask` knows it."""
    return input.new_empty(len(input), 1)


def _no_bias(output: Tensor) -> Tensor:
    return output.new_zeros(output.shape[1])


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **geometry: int
) -> None:
    sizes = _geometry(geometry, version=1)
    output.copy_(_forward(input, weight, offset, _no_mask(input), _no_bias(output), sizes))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry: int,
) -> None:
    tensors = (grad_output, input, weight, offset, _no_mask(input), _no_bias(grad_output))
    gradients = _backward(*tensors, geometry=_geometry(geometry, version=1))
    grad_input.copy_(gradients[0])
    grad_offset.copy_(gradients[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    **geometry: int,
) -> None:
    unused_weight = torch.zeros_like(grad_weight)  # a linear function's gradient does not depend on its parameter
    tensors = (grad_output, input, unused_weight, offset, _no_mask(input), _no_bias(grad_output))
    grad_weight.copy_(_backward(*tensors, geometry=_geometry(geometry, version=1))[1])


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **geometry: int,
) -> None:
    bias = bias if with_bias else _no_bias(output)
    output.copy_(_forward(input, weight, offset, mask, bias, _geometry(geometry, version=2)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **geometry: int,
) -> None:
    tensors = (grad_output, input, weight, offset, mask, bias if with_bias else _no_bias(grad_output))
    gradients = _backward(*tensors, geometry=_geometry(geometry, version=2))
    outputs = (grad_input, grad_weight, grad_offset, grad_mask, *([grad_bias] if with_bias else ()))
    for output, gradient in zip(outputs, gradients, strict=False):
        output.copy_(gradient)
