"""The parts of the benchmark. Each measures, appends to the CSV, and returns its table as Markdown."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from brs_detr.losses import rank_sort_loss
from brs_detr.timing.memory import peak_memory

from . import figure, problems
from .methods import DELTA, METHODS, feasible, ranking
from .racing import Times, race
from .report import Environment, append_csv, markdown, milliseconds, ratio, size

POSITIVES = (3, 30, 300, 1000, 4096, 16_384, 65_536)
NEGATIVES = (1000, 10_000, 100_000, 1_000_000, 7_000_000, 64_000_000)
DEVIATION_SIZES = ((5, 40), (20, 500), (300, 20_000), (1000, 50_000))
DOUBLED_POSITIVES = [4096 << k for k in range(5)]
DOUBLED_NEGATIVES = [1_000_000 << k for k in range(7)]


@dataclass(frozen=True)
class Setting:
    """Where to measure and to write."""

    device: str
    largest: int  # number of negatives
    where: Environment
    results: Path

    @property
    def label(self) -> str:
        return "gpu" if self.device.startswith("cuda") else f"cpu_{self.where.threads}"

    def record(self, part: str, positives: int, negatives: int, times: dict[str, Times]) -> None:
        append_csv(self.results / "losses.csv", self.where, part, positives, negatives, times)


def grid(setting: Setting) -> str:
    """Every size and method: exact in milliseconds, the others as multiples of it."""
    others = [name for name in METHODS if name != "exact"]
    rows = []
    for negatives in (n for n in NEGATIVES if n <= setting.largest):
        for positives in (p for p in POSITIVES if p <= negatives):
            times, memory = _race_methods(setting, positives, negatives)
            setting.record("grid", positives, negatives, times)
            ratios = [ratio(times.get(name), times["exact"]) for name in others]
            rows.append([size(positives), size(negatives), milliseconds(times["exact"]), *ratios, f"{memory:.1f}"])
            print(" ".join(rows[-1]), flush=True)
    table = markdown(["P", "N", "exact, ms", *others, "memory"], rows)
    remark = "Methods: how many times as long as exact. Memory: of exact, peak, in multiples of the logits' bytes."
    return f"{remark}\n\n{table}"


def _race_methods(setting: Setting, positives: int, negatives: int) -> tuple[dict[str, Times], float]:
    """Times of each method, and the peak memory of exact as a multiple of the logits."""
    x, y = problems.make(positives, negatives, device=setting.device)
    run = {name: partial(f, x, y) for name, f in METHODS.items() if feasible(name, positives, negatives)}
    memory = peak_memory(run["exact"], x.device) / (4 * len(x))
    return race(run, setting.device, seconds=1.0), memory


def growth(setting: Setting) -> str:
    """Doubling P at N = 1M, and N at P = 1k. Sizes are run in turn, so that a drift strikes all alike."""
    methods = ("exact", "torch.sort", "bandwidth")
    by_positives = _grown(setting, methods, [(p, 1_000_000) for p in DOUBLED_POSITIVES])
    sizes = [(1000, n) for n in DOUBLED_NEGATIVES if n <= setting.largest * 1.1]
    by_negatives = _grown(setting, methods, sizes)
    figure.draw(setting.results / f"growth_{setting.label}.png", str(setting.where), by_positives, by_negatives)
    return "\n\n".join(
        f"{title}\n\n{_growth_table(times, methods)}"
        for title, times in (("P doubled, N = 1M", by_positives), ("N doubled, P = 1k", by_negatives))
    )


Growth = dict[tuple[int, int], dict[str, Times]]


def _grown(setting: Setting, methods: tuple[str, ...], sizes: list[tuple[int, int]]) -> Growth:
    made = {s: problems.make(*s, device=setting.device) for s in sizes}
    runs = {(s, name): partial(METHODS[name], *made[s]) for s in sizes for name in methods}
    times = race(runs, setting.device)
    result = {s: {name: times[s, name] for name in methods} for s in sizes}
    for (positives, negatives), found in result.items():
        setting.record("growth", positives, negatives, found)
    return result


def _growth_table(grown: Growth, methods: tuple[str, ...]) -> str:
    rows, before = [], None
    for (positives, negatives), times in grown.items():
        cells = [milliseconds(times[name]) for name in methods]
        rows.append([size(positives), size(negatives), *cells, ratio(times["exact"], before)])
        before = times["exact"]
    return markdown(["P", "N", *(f"{name}, ms" for name in methods), "exact, a doubling"], rows)


def deviation(setting: Setting) -> str:
    """Distance to the definition in float64, of value and gradient."""
    rows = []
    for positives, negatives in DEVIATION_SIZES:
        x, y = problems.make(positives, negatives, device=setting.device)
        truth = _solve(x.double(), y.double(), "pairwise")
        for method in ("exact", "pairwise", "bucketed"):
            rows.append([size(positives), size(negatives), method, *_deviation(_solve(x, y, method), truth)])
    table = markdown(["P", "N", "method", "ranking", "sorting", "gradient of negatives", "of positives"], rows)
    return f"Relative to the largest value of the definition, evaluated in float64 over all pairs.\n\n{table}"


def _solve(logits: Tensor, targets: Tensor, method: str) -> tuple[Tensor, ...]:
    losses = rank_sort_loss(logits, targets, delta=DELTA, method=method)
    gradient = ranking(logits, targets, method)
    return losses.ranking, losses.sorting, gradient[targets == 0], gradient[targets > 0]


def _deviation(ours: tuple[Tensor, ...], truth: tuple[Tensor, ...]) -> list[str]:
    pairs = zip(ours, truth, strict=True)
    return [f"{float((a - b).abs().max() / b.abs().max()):.1e}" for a, b in pairs]


def step(setting: Setting) -> str:
    """All ranking problems of a BRS-DETR R50 step with 4 images."""
    calls = problems.training_step(setting.device)
    each = [problem for call in calls for problem in call]
    runs = {
        name: partial(_solve_all, METHODS[name], each)
        for name in ("pairwise", "loop over positives", "loop over buckets", "bucketed", "exact", "focal")
    }
    runs["exact, in the detector's calls"] = partial(_solve_calls, calls)
    times = race(runs, setting.device, seconds=10)
    positives, negatives = (
        sum(n) for n in zip(*((int((y > 0).sum()), int((y == 0).sum())) for _, y in each), strict=True)
    )
    setting.record("step", positives, negatives, times)
    fastest = times["exact, in the detector's calls"]
    rows = [[name, milliseconds(t), ratio(t, fastest)] for name, t in times.items()]
    return markdown(["method", "ms", "multiple"], rows)


def _solve_all(method: object, each: list[problems.Problem]) -> None:
    for x, y in each:
        method(x, y)  # type: ignore[operator]


def _solve_calls(calls: list[list[problems.Problem]]) -> None:
    for call in calls:
        logits = [x.detach().requires_grad_() for x, _ in call]
        losses = rank_sort_loss([(x, y) for x, (_, y) in zip(logits, call, strict=True)], delta=DELTA)
        torch.autograd.grad([term for pair in losses for term in pair], logits)
