"""How long the losses take, beside the published loops, focal loss, sorting, and reading and writing once."""

from functools import partial

from brs_detr.timing.measuring import Times

from ..losses import EFFORT, IN_CALLS, race_methods, race_step
from ..problems import METHODS, STEP, make, training_step
from ..report import size
from .cases import Case, Part, Row, Setting

SIZES = [(p, n) for n in (1_000_000, 7_000_000, 100_000) for p in (300, 1000, 30, 16_384)] + [(1000, 64_000_000)]
SMALL = [(3, 200)]
SMALL_STEP = [[make(3, 200), make(3, 100)], [make(3, 200)]]


def grid(positives: int, negatives: int, setting: Setting) -> list[Row]:
    """One size: milliseconds of each method that is feasible, forward and backward."""
    times, memory = race_methods(setting.torch_device, positives, negatives)
    milliseconds = {f"{name}, ms": times[name].p50 if name in times else None for name in METHODS}
    return [{"P": size(positives), "N": size(negatives), **milliseconds, "memory of exact": memory}]


def step(setting: Setting) -> list[Row]:
    """All problems of a step of BRS-DETR R50 with four images."""
    calls = SMALL_STEP if setting.small else training_step(setting.torch_device)
    times = race_step(setting.torch_device, calls)
    return [method_row(name, measured, times[IN_CALLS]) for name, measured in times.items()]


def method_row(name: str, measured: Times, fastest: Times) -> Row:
    percentiles = {"ms": measured.p50, "ms, p20": measured.p20, "ms, p80": measured.p80}
    return {"method": name, **percentiles, "runs": measured.runs, "multiple": measured.p50 / fastest.p50}


def cases(setting: Setting) -> list[Case]:
    sizes = SMALL if setting.small else SIZES
    names = {case: f"P = {size(case[0])}, N = {size(case[1])}" for case in sizes}
    return [
        Case("step", 60, partial(step, setting)),
        *(Case(name, 20 if case[1] < 1e7 else 60, partial(grid, *case, setting)) for case, name in names.items()),
    ]


LOSS_TIMES = Part(
    "times",
    f"Forward and backward of Rank & Sort Loss, medians of up to {EFFORT.repeats} runs that take turns, as in\n"
    f"`python -m benchmarks.losses`: the {sum(times for _, _, times in STEP.values())} problems of a BRS-DETR R50 step "
    "of 4 images, and each size.\nThe loops are the losses as they were published. Memory: the peak in multiples of "
    "the logits' bytes.",
    cases,
)
