"""Do the Triton kernels give what torch gives? Small problems are solved both ways, once a device and dtype.

A run of the test also compiles the kernels, which have one variant for each dtype: no later step waits for that.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .exact import ExactNegatives
from .fused import FusedNegatives, FusedPositives, FusedScan
from .pairwise import PairwisePositives
from .positives import BatchScan, Found, Positives, arrange
from .problems import Batch
from .ranking import NegativeSums, PositiveSums
from .step import SmoothedStep

LENGTH = 2200  # a few blocks of a kernel, the last of them incomplete
POSITIVES = (40, 0, 5)  # of each problem
DELTAS = (0.0, 0.5)
TOLERANCE = 1e-5  # of the largest number; both ways round in at least float32
LONGEST_REASON = 300  # characters of an error, as those of compilers quote the source

_failures: dict[torch.device, str] = {}
_passed: set[tuple[torch.device, torch.dtype, torch.dtype]] = set()


def failure(device: torch.device, logits: torch.dtype, targets: torch.dtype) -> str | None:
    """Why the kernels must not be used on a device, None if they may for these dtypes.

    The first call for a device and dtypes runs the test and reads its result: no collective, and nothing of it is left
    in later calls. A failure is warned of, and holds for all dtypes of the device until the process ends.
    """
    if device not in _failures and (device, logits, targets) not in _passed:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return "a CUDA graph is being captured, and a test of the kernels would break it"
        reason = _outcome(device, logits, targets)
        if reason is None:
            _passed.add((device, logits, targets))
        else:
            _failures[device] = reason
            warnings.warn(
                f"{reason}. Ranking losses are computed by torch on this device instead: slower, the numbers are right",
                RuntimeWarning,
                stacklevel=2,
            )
    return _failures.get(device)


def _outcome(device: torch.device, logits: torch.dtype, targets: torch.dtype) -> str | None:
    what = f"the Triton kernels {{}} on {device} for {logits} logits and {targets} targets"
    try:
        # this asks the device once for all comparisons
        wrong = [name for name, right in _comparisons(device, logits, targets).items() if not right]
    except Exception as error:  # whatever a compiler or a driver raises
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return f"{what.format('fail')}: {message[:LONGEST_REASON]}"
    return f"{what.format('give other numbers than torch')}: {', '.join(wrong)}" if wrong else None


@torch.no_grad()
def _comparisons(device: torch.device, logits: torch.dtype, targets: torch.dtype) -> dict[str, bool]:
    """Which sums agree, by a name for each."""
    x, y, found = _problems(device, logits, targets)
    positives, batch = arrange(found), Batch(x, y, None, [""] * len(x), [LENGTH] * len(x), [*range(len(x))])
    ours, expected = (way(batch, targets_are_ious=False) for way in (FusedScan, BatchScan))
    same = torch.cat(ours.masks) == torch.cat(expected.masks)
    agreements = {"scan": (ours.statistics == expected.statistics).all() & same.all()}
    with torch.autocast(device.type, enabled=False):
        for step in map(SmoothedStep, DELTAS):
            by_kernels = _sums(FusedNegatives(positives, step, x), FusedPositives(positives, step), x, y, positives)
            pairs = PairwisePositives(positives, step, keep=True)
            by_torch = _sums(ExactNegatives(positives, step, x), pairs, x, y, positives)
            for name, sums in by_torch.items():
                close = (by_kernels[name] - sums).abs() <= TOLERANCE * sums.abs().amax()  # NaN is not
                agreements[f"{name} at delta {step.delta}"] = close.all()
    return dict(zip(agreements, torch.stack(list(agreements.values())).tolist(), strict=True))


def _sums(
    negatives: NegativeSums, pairs: PositiveSums, logits: Tensor, targets: Tensor, positives: Positives
) -> dict[str, Tensor]:
    """All that a loss asks for, 0 at paddings where it is not defined; values tell the positives apart."""
    values, real = positives.targets * positives.weights, positives.weights
    of_all, of_as_good = pairs.over_all_and_as_good(torch.stack([real, values]))
    return {
        "N_FP": negatives.false_positives(logits, targets) * real,
        "gradient": negatives.gradient(logits, targets, values),
        "sums over positives": of_all * real,
        "over as good": of_as_good * real,
        "from better": pairs.from_better(values[None]) * real,
    }


def _problems(device: torch.device, logits: torch.dtype, targets: torch.dtype) -> tuple[Tensor, Tensor, Found]:
    """A batch (3, LENGTH) with ties, ignored samples, a problem without positives and one that is padded, and the
    positives in it. Always the same; no random state changes."""
    generator = torch.Generator("cpu").manual_seed(0)
    shape = len(POSITIVES), LENGTH
    x = 2 * torch.randn(shape, generator=generator, device="cpu")
    x[0] = (4 * x[0]).round() / 4  # on break points, and on each other
    y = torch.zeros(shape, device="cpu")
    y[0, ::5] = -1
    y[2, 2 * LENGTH // 3 :] = -1
    source = torch.cat([k * LENGTH + 7 * torch.arange(n, device="cpu") for k, n in enumerate(POSITIVES)])
    y.view(-1)[source] = 1
    x = x.to(logits)
    ious = torch.linspace(0.1, 1, len(source), dtype=torch.float64, device="cpu").mul(20).round() / 20  # with ties
    fields = torch.stack([x.view(-1)[source].double(), ious])
    return x.to(device), y.to(device, targets), Found(fields.to(device), source.to(device), list(POSITIVES))
