"""Deformable attention in at least float32, also under mixed precision.

mmcv casts sampling locations to the values' precision. Under autocast that is bfloat16 or float16, which tell 256 and
2048 places of a map's side apart: too few to interpolate between pixels.
"""

from typing import Any

import torch
from mmcv.ops import multi_scale_deform_attn
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction as HalfPrecision
from torch import Tensor


class Float32Attention(HalfPrecision):
    """mmcv's function with values in at least float32; what it returns has their original precision."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *others: Any) -> Tensor:
        ctx.precision = torch.promote_types(value.dtype, torch.float32)
        wide = value.to(ctx.precision)
        return HalfPrecision.forward(ctx, wide, *others).to(value.dtype)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return HalfPrecision.backward(ctx, grad_output.to(ctx.precision))  # saved tensors can be asked for once


def install() -> None:
    """Let mmcv's module of deformable attention use it on GPUs, where it calls the function above."""
    vars(multi_scale_deform_attn)["MultiScaleDeformableAttnFunction"] = Float32Attention
