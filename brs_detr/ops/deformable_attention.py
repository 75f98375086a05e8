"""Multi-scale deformable attention with the signatures of mmcv's extension (Deformable DETR, ICLR 2021).

mmcv calls these on a GPU only; on a CPU it takes its own grid_sample path. Here a GPU gets the same formula,
or the kernels of ``deformops`` where that library can run. The backward pass recomputes the forward one, level by
level: the samples of an encoder layer are too large to keep.

Shapes: B images, S positions of all levels, G heads, D channels a head, Q queries, L levels, K points.
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

Sampler = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
Result = TypeVar("Result")


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
    total, *others = (sample_level(*level) for level in levels_of(value, shapes, locations, weights))
    return sum(others, total).contiguous()


def levels_of(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> Iterator[tuple[list[int], Tensor, Tensor, Tensor]]:
    """Height and width of each level, and views of what belongs to it."""
    sizes: list[list[int]] = shapes.tolist()  # the split needs them on the host: one copy a call
    maps = value.split([h * w for h, w in sizes], dim=1)
    return zip(sizes, maps, locations.unbind(3), weights.unbind(3), strict=True)


def sample_level(size: Sequence[int], value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """One level's part of the sum, (B, Q, G * D), of value (B, h * w, G, D), locations (B, Q, G, K, 2), weights
    (B, Q, G, K)."""
    B, Q, G, _, _ = locations.shape
    maps = value.permute(0, 2, 3, 1).reshape(B * G, -1, *size)
    grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    samples = F.grid_sample(maps, grid, align_corners=False)  # (B * G, D, Q, K)
    weighted = samples * weights.transpose(1, 2).flatten(0, 1)[:, None]
    return weighted.sum(-1).view(B, -1, Q).transpose(1, 2)


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


def _by_kernel(value: Tensor, compute: Callable[[Sampler], Result], otherwise: Callable[[], Result]) -> Result:
    """`compute` with deformops' sampler where its kernels can run, else `otherwise`."""
    msda = _deformops_sampler() if value.is_cuda and value.dtype != torch.float64 else None
    if msda is None:
        return otherwise()
    try:
        return compute(msda)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # no kernel for this GPU or these sizes, no compiler for Triton, ...
        _report_fallback(f"{type(error).__name__}: {error}")
        return otherwise()


def ms_deform_attn_forward(
    value: Tensor,
    shapes: Tensor,
    level_start: Tensor,
    locations: Tensor,
    weights: Tensor,
    *,
    im2col_step: int,
) -> Tensor:
    """:func:`grid_sample_attention` or a kernel, without a graph; ``im2col_step`` belongs to the compiled one."""
    operands = (value, shapes, level_start, locations, weights)
    with torch.no_grad():
        return _by_kernel(value, lambda msda: msda(*operands), lambda: grid_sample_attention(*operands))


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
    targets = (grad_value, grad_locations, grad_weights)

    def by_kernel(msda: Sampler) -> None:
        inputs = (value, locations, weights)
        _differentiate(lambda v, x, w: msda(v, shapes, level_start, x, w), inputs, grad_output, targets)

    def level_by_level() -> None:  # so that samples of one level exist at a time
        levels = levels_of(value, shapes, locations, weights)
        targets_of_levels = levels_of(grad_value, shapes, grad_locations, grad_weights)
        for (size, *inputs), (_, *into) in zip(levels, targets_of_levels, strict=True):
            _differentiate(functools.partial(sample_level, size), inputs, grad_output, into)

    _by_kernel(value, by_kernel, level_by_level)


def _differentiate(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad_output: Tensor, targets: Sequence[Tensor]
) -> None:
    """Write the gradients of a function of `inputs` into `targets`."""
    with torch.enable_grad():
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        output = function(*inputs)
    for target, gradient in zip(targets, torch.autograd.grad(output, inputs, grad_output), strict=True):
        target.copy_(gradient)
