"""The operators of `brs_detr.ops` as mmdet calls them, against the CPU in float64: values, and gradients where they
have one."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, NoReturn
from unittest import mock

import mmcv.ops
import torch
from torch import Tensor

from brs_detr.errors import InputError
from brs_detr.ops import deformable_attention
from brs_detr.ops.float32_attention import Float32Attention

from .agreement import PRECISIONS, mean_error, same_bits
from .cases import Case, Part, Row, Setting

SAMPLERS = ("grid_sample", "deformops")  # the back ends of deformable attention
TOLERANCE = 1e-4  # of float32
ROUNDINGS = 4  # in the precision of the input, that results are allowed beyond that


class Operator(NamedTuple):
    """inputs: made on the CPU in float32, larger or smaller; rounded: those in the precision that is checked; learned:
    those with a gradient; without any the output is indices."""

    run: Callable[..., Tensor]
    inputs: Callable[[int], list[Tensor]]
    rounded: tuple[int, ...] = (0,)
    learned: tuple[int, ...] = ()
    sampler: str = SAMPLERS[0]


def boxes(number: int, side: float = 300.0) -> Tensor:
    """(number, 4) xyxy in pixels, in quarters of a pixel."""
    corner = torch.rand(number, 2) * side
    return (torch.cat([corner, corner + torch.rand(number, 2) * side / 3 + 1], dim=1) * 4).round() / 4


def boxes_and_scores(scale: int) -> list[Tensor]:
    return [boxes(100 * scale), torch.randperm(100 * scale).float()]


def maps_and_rois(scale: int) -> list[Tensor]:
    rois = boxes(50 * scale)
    return [torch.randn(2, 16, 40, 50), torch.cat([torch.randint(2, (len(rois), 1)).float(), rois], dim=1)]


def attention(scale: int) -> list[Tensor]:
    """value, shapes, places and weights of samples; some lie outside the maps, none near the middle of a pixel, where
    the gradient of its place jumps."""
    shapes = torch.tensor([(5 * scale, 8 * scale), (3 * scale, 4 * scale)])
    positions, queries = int(shapes.prod(1).sum()), 30 * scale
    value, steps = torch.randn(2, positions, 4, 32), (2, queries, 4, 2, 4, 2)
    sides = shapes.flip(1)[:, None]  # (levels, 1, 2) x y
    pixels = (torch.rand(steps) * (sides + 4)).floor() - 2 + 0.3 + 0.4 * torch.rand(steps)
    return [value, shapes, (pixels + 0.5) / sides, torch.rand(2, queries, 4, 8).softmax(-1).view(steps[:-1])]


def attend(value: Tensor, shapes: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    starts = shapes.prod(1).cumsum(0) - shapes.prod(1)
    return Float32Attention.apply(value, shapes, starts, places, weights, 64)


def logits_and_labels(scale: int) -> list[Tensor]:
    return [torch.randn(50 * scale, 20) * 3, torch.randint(21, (50 * scale,))]


def convolution(scale: int) -> list[Tensor]:
    """maps, offsets, masks, weights."""
    maps, offsets = torch.randn(2, 8, 4 * scale, 5 * scale), torch.randn(2, 18, 4 * scale, 5 * scale)
    return [maps, offsets, torch.rand(2, 9, 4 * scale, 5 * scale), torch.randn(6, 8, 3, 3)]


def nms(candidates: Tensor, scores: Tensor) -> Tensor:
    return mmcv.ops.nms(candidates, scores, 0.5)[1]


def soft_nms(candidates: Tensor, scores: Tensor) -> Tensor:
    return mmcv.ops.soft_nms(candidates, scores / len(scores))[1]


def roi_align(maps: Tensor, rois: Tensor) -> Tensor:
    return mmcv.ops.roi_align(maps, rois, 7, 0.125, 2, "avg", True)


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return mmcv.ops.sigmoid_focal_loss(logits, labels, 2.0, 0.25, None, "none")


def deform_conv(maps: Tensor, offsets: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    return mmcv.ops.modulated_deform_conv2d(maps, offsets, masks, weights, None, 1, 1, 1, 1, 1)


OPERATORS = {
    "nms": Operator(nms, boxes_and_scores),
    "soft nms": Operator(soft_nms, boxes_and_scores),
    "RoIAlign": Operator(roi_align, maps_and_rois, learned=(0,)),
    "focal loss": Operator(focal_loss, logits_and_labels, learned=(0,)),
    "deformable convolution": Operator(deform_conv, convolution, rounded=(0, 1, 2, 3), learned=(0, 1, 2, 3)),
}
OPERATORS |= {
    f"deformable attention, {sampler}": Operator(attend, attention, learned=(0, 2, 3), sampler=sampler)
    for sampler in SAMPLERS
}


@contextmanager
def sampling_by(sampler: str, setting: Setting) -> Iterator[None]:
    """Deformable attention by one of SAMPLERS and no other, on a GPU.

    Raises InputError if it cannot run.
    """
    if sampler == "grid_sample":
        with mock.patch.object(deformable_attention, "_deformops_sampler", return_value=None):
            yield
        return
    if not setting.on_gpu or deformable_attention._deformops_sampler() is None:
        raise InputError("deformops is not installed, or does not fit this torch; it needs Python 3.12 and a GPU.")
    with mock.patch.object(deformable_attention, "_report_fallback", refuse):
        yield


def refuse(reason: str) -> NoReturn:
    raise InputError(f"deformops cannot run here: {reason}")


def solved(operator: Operator, inputs: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of its products with a ramp."""
    given = [each.detach().requires_grad_(k in operator.learned) for k, each in enumerate(inputs)]
    output = operator.run(*given)
    if not operator.learned:
        return [output]
    upstream = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output).to(output.dtype)
    return [output, *torch.autograd.grad(output, [given[k] for k in operator.learned], upstream)]


def compared(operator: Operator, dtype: torch.dtype, setting: Setting) -> tuple[list[float], bool]:
    """The errors of output and gradients, NaN if there are more or fewer of them, and whether a second run repeats."""
    torch.manual_seed(0)
    made = operator.inputs(2 if setting.small else 20)
    inputs = [x.to(dtype) if k in operator.rounded else x for k, x in enumerate(made)]
    truth = solved(operator, [x.double() if x.is_floating_point() else x for x in inputs])
    moved = [x.to(setting.torch_device) for x in inputs]
    with sampling_by(operator.sampler, setting):
        ours, again = (solved(operator, moved) for _ in range(2))
    pairs = zip(ours, truth, strict=True)
    errors = [mean_error([a], [b]) if a.shape == b.shape else math.nan for a, b in pairs]
    return errors, same_bits(ours, again)


def check(name: str, precision: str, setting: Setting) -> list[Row]:
    """One operator in one precision."""
    operator, dtype = OPERATORS[name], PRECISIONS[precision]
    errors, repeats = compared(operator, dtype, setting)
    rounding = ROUNDINGS * torch.finfo(dtype).eps if dtype.itemsize < 4 else 0.0
    allowed = TOLERANCE + rounding if operator.learned else 0.0  # indices are right or wrong
    return [
        {
            "operator": name,
            "precision": precision,
            "output": errors[0],
            "gradients": max(errors[1:], default=None),
            "bit for bit": repeats,
            "agrees": all(error <= allowed for error in errors),
        }
    ]


def cases(setting: Setting) -> list[Case]:
    names = [name for name, operator in OPERATORS.items() if setting.on_gpu or operator.sampler == SAMPLERS[0]]
    return [
        Case(f"{name}, {precision}", 20, partial(check, name, precision, setting))
        for name in names
        for precision in (["fp32"] if setting.small else PRECISIONS)
    ]


OPERATOR_CHECKS = Part(
    "operators",
    "The operators of `brs_detr/ops` as mmdet calls them, against the CPU in float64 of the same inputs, which are\n"
    "rounded to the precision; of deformable attention only the values are, as by `--amp`. Errors are root mean\n"
    f"squares in multiples of the truth's; {TOLERANCE:.0e} and {ROUNDINGS} roundings are allowed, and no other box of\n"
    "NMS. Bit for bit: a second run gives the same, which atomic sums need not.",
    cases,
    alone=False,
)
