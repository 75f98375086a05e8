"""Do the Triton kernels give what torch gives? Small problems are solved both ways, once a device, dtype and loss.

A run of the test also compiles the kernels, which have one variant for each dtype: no later step waits for that.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from .exact import ExactNegatives
from .fused import FusedNegatives, FusedPositives, FusedScan, put
from .pairwise import PairwisePositives
from .positives import BatchScan, Positives
from .problems import Batch
from .ranking import NegativeSums, PositiveSums, RankingDefinition
from .step import SmoothedStep

LENGTH = 1500  # two blocks of a kernel, the last of them incomplete
POSITIVES = (20, 0, 5)  # of each problem
DELTAS = (0.0, 0.5)
TOLERANCE = 1e-5  # of the largest number; both ways round in at least float32, but for gradients in less
LONGEST_REASON = 300  # characters of an error, as those of compilers quote the source

_failures: dict[torch.device, str] = {}
_passed: set[tuple[torch.device, torch.dtype, torch.dtype, type[RankingDefinition]]] = set()


def failure(
    device: torch.device, logits: torch.dtype, targets: torch.dtype, definition: RankingDefinition
) -> str | None:
    """Why the kernels must not be used on a device, None if they may for these dtypes and this loss.

    The first call for a device, dtypes and a loss runs the test and reads its result: no collective, and nothing of it
    is left in later calls. A failure is warned of, and holds for all of the device until the process ends.
    """
    if device not in _failures and (device, logits, targets, type(definition)) not in _passed:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return "a CUDA graph is being captured, and a test of the kernels would break it"
        reason = _outcome(device, logits, targets, definition)
        if reason is None:
            _passed.add((device, logits, targets, type(definition)))
        else:
            _failures[device] = reason
            warnings.warn(
                f"{reason}. Ranking losses are computed by torch on this device instead: slower, the numbers are right",
                RuntimeWarning,
                stacklevel=2,
            )
    return _failures.get(device)


def _outcome(
    device: torch.device, logits: torch.dtype, targets: torch.dtype, definition: RankingDefinition
) -> str | None:
    what = f"the Triton kernels {{}} on {device} for {logits} logits and {targets} targets"
    try:
        # this asks the device once for all comparisons
        found = _comparisons(*_problems(device, logits, targets), definition)
        wrong = [name for name, right in found.items() if not right]
    except Exception as error:  # whatever a compiler or a driver raises
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return f"{what.format('fail')}: {message[:LONGEST_REASON]}"
    return f"{what.format('give other numbers than torch')}: {', '.join(wrong)}" if wrong else None


@torch.no_grad()
def _comparisons(x: Tensor, y: Tensor, definition: RankingDefinition) -> dict[str, bool]:
    """Which numbers agree, by a name for each."""
    agreements: dict[str, Tensor] = {}
    with torch.autocast(x.device.type, enabled=False):
        for step in (SmoothedStep(delta) for delta in DELTAS):
            ours, expected = (_numbers(x, y, replace(definition, step=step), kernels) for kernels in (True, False))
            for name, numbers in expected.items():
                tolerance = max(TOLERANCE, torch.finfo(ours[name].dtype).eps)
                close = (ours[name] - numbers).abs() <= tolerance * numbers.abs().amax()  # NaN is not
                agreements[f"{name} at delta {step.delta}"] = close.all()
    return dict(zip(agreements, torch.stack(list(agreements.values())).tolist(), strict=True))


def _numbers(x: Tensor, y: Tensor, definition: RankingDefinition, kernels: bool) -> dict[str, Tensor]:
    """All that is computed on the way to a loss and its gradient, by kernels or torch."""
    batch, step = Batch(x, y, None, [""] * len(x), [LENGTH] * len(x), [*range(len(x))]), definition.step
    scan = (FusedScan if kernels else BatchScan)(batch, step, targets_are_ious=False)
    positives = scan.arrange(scan.find(scan.statistics.tolist()))
    negatives = (FusedNegatives if kernels else ExactNegatives)(positives, step, x)
    pairs = FusedPositives(positives, step) if kernels else PairwisePositives(positives, step, keep=True)
    sums = _sums(negatives, pairs, x, y, positives)
    (put if kernels else Positives.put)(positives, positives.targets, sums["gradient"])
    errors = positives.targets - positives.targets**2  # of boxes, for a loss that asks for them
    terms = definition.weighted_terms(pairs, positives._replace(localisation=errors), sums["N_FP"])
    order = torch.stack([positives.logits, positives.positions, positives.targets, positives.weights])
    arranged = {"scan": scan.statistics, "places": positives.source.double(), "positives": order}
    return arranged | sums | dict(zip(("errors", "shares"), (of[:2] for of in terms), strict=True))


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


def _problems(device: torch.device, logits: torch.dtype, targets: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits and targets (3, LENGTH) with ties, ignored samples, a problem without positives and one that is padded.
    Always the same; no random state changes."""
    generator = torch.Generator("cpu").manual_seed(0)
    shape = len(POSITIVES), LENGTH
    x = 2 * torch.randn(shape, generator=generator, device="cpu")
    x[0] = (4 * x[0]).round() / 4  # on break points, and on each other
    y = torch.zeros(shape, device="cpu")
    y[0, ::5] = -1
    y[2, 2 * LENGTH // 3 :] = -1
    source = torch.cat([k * LENGTH + 7 * torch.arange(n, device="cpu") for k, n in enumerate(POSITIVES)])
    y.view(-1)[source] = torch.linspace(0.1, 1, len(source), device="cpu").mul(20).round() / 20  # with ties
    if not targets.is_floating_point:
        y = y.ceil().clamp(min=-1 if targets.is_signed else 0)
    return x.to(device, logits), y.to(device, targets)
