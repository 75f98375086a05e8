"""Multi-scale deformable attention with the signatures of mmcv's extension (Deformable DETR, ICLR 2021).

mmcv calls these on a GPU only; on a CPU it takes its own grid_sample path. Here a GPU gets the same formula,
or the kernels of ``deformops`` where that library can run. The backward pass recomputes the forward one: the
samples of an encoder layer are too large to keep.

Shapes: B images, S positions of all levels, G heads, D channels a head, Q queries, L levels, K points.
"""

import functools
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

Sampler = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


_sizes: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def level_sizes(shapes: Tensor) -> list[tuple[int, int]]:
    """Height and width of each level, of (L, 2) that is never written to: the host reads a tensor once, for all layers
    of a step and both passes."""
    if shapes not in _sizes:
        _sizes[shapes] = [(h, w) for h, w in shapes.tolist()]
    return _sizes[shapes]


def grid_sample_attention(
    value: Tensor, shapes: Tensor, level_start: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of bilinear samples, differentiable.

    Args:
        value: (B, S, G, D).
        shapes: (L, 2), height and width of each level.
        level_start: (L,), unused: it follows from ``shapes``.
        locations: (B, Q, G, L, K, 2), x y of the samples, 0 and 1 at the borders of the map.
        weights: (B, Q, G, L, K).

    Returns:
        (B, Q, G * D).
    """
    B, Q, G, _, _, _ = locations.shape
    sizes = level_sizes(shapes)
    maps = value.split([h * w for h, w in sizes], dim=1)
    grids = 2 * locations - 1
    samples = [
        F.grid_sample(
            maps[level].permute(0, 2, 3, 1).reshape(B * G, -1, h, w),
            grids[:, :, :, level].transpose(1, 2).flatten(0, 1),
            align_corners=False,
        )
        for level, (h, w) in enumerate(sizes)
    ]  # each (B * G, D, Q, K)
    weights = weights.transpose(1, 2).reshape(B * G, 1, Q, -1)
    output = (torch.cat(samples, dim=-1) * weights).sum(-1)
    return output.view(B, -1, Q).transpose(1, 2).contiguous()


@functools.cache
def _deformops_sampler() -> Sampler | None:
    """``deformops.registry.msda``, or None where the library or this part of it is missing."""
    try:
        from deformops.registry import msda
    except Exception:  # an installed library that does not fit this torch may fail in any way
        return None
    return msda


@functools.cache
def _report_fallback(reason: str) -> None:
    warnings.warn(f"deformops cannot run here, grid_sample is used instead: {reason}", stacklevel=2)


def sample(value: Tensor, shapes: Tensor, level_start: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """:func:`grid_sample_attention`, by deformops' GPU kernels where they can run."""
    operands = (value, shapes, level_start, locations, weights)
    msda = _deformops_sampler() if value.is_cuda and value.dtype != torch.float64 else None
    if msda is None:
        return grid_sample_attention(*operands)
    try:
        return msda(*operands)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # no kernel for this GPU or these sizes, no compiler for Triton, ...
        _report_fallback(f"{type(error).__name__}: {error}")
        return grid_sample_attention(*operands)


def ms_deform_attn_forward(
    value: Tensor,
    shapes: Tensor,
    level_start: Tensor,
    locations: Tensor,
    weights: Tensor,
    *,
    im2col_step: int,
) -> Tensor:
    """:func:`sample` without a graph; ``im2col_step`` belongs to the compiled kernel."""
    with torch.no_grad():
        return sample(value, shapes, level_start, locations, weights)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    level_start: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    *,
    im2col_step: int,
) -> None:
    """Gradients for value, locations and weights, written into the three ``grad_*`` tensors."""
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
        output = sample(inputs[0], shapes, level_start, inputs[1], inputs[2])
    gradients = torch.autograd.grad(output, inputs, grad_output)
    for target, gradient in zip((grad_value, grad_locations, grad_weights), gradients, strict=True):
        target.copy_(gradient)
