"""How long the ranking losses take, forward and backward.

    python -m benchmarks.losses                        # everything, about an hour on two CPU cores
    python -m benchmarks.losses grid --threads 1       # every size and method
    python -m benchmarks.losses growth                 # sizes doubled, with fitted exponents and a figure
    python -m benchmarks.losses deviation              # how far each method is from the definition
    python -m benchmarks.losses step                   # the ranking problems of one BRS-DETR step
    python -m benchmarks.losses limits                 # where "exact" changes its way of summing (losses/blocks.py)

Prints tables, writes them to benchmarks/results/NAME.md with a figure, and appends to benchmarks/results/losses.csv.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.files import write_text
from brs_detr.losses import blocks, rank_sort_loss
from brs_detr.timing.counting import peak_memory
from brs_detr.timing.measuring import Effort, Times, race
from brs_detr.timing.report import append_csv, environment

from . import problems
from .problems import DELTA, METHODS, feasible, ranking
from .report import Growth, draw_growth, markdown, milliseconds, ratio, size

RESULTS = Path(__file__).parent / "results"
COLUMNS = ("device", "threads", "python", "torch", "part", "P", "N", "method", "ms", "ms_p20", "ms_p80", "runs")
EFFORT = Effort(repeats=15, seconds=3.0, max_seconds=10.0)
POSITIVES = (3, 30, 300, 1000, 4096, 16_384, 65_536)
NEGATIVES = (1000, 10_000, 100_000, 1_000_000, 7_000_000, 64_000_000)
DEVIATION_SIZES = ((5, 40), (20, 500), (300, 20_000), (1000, 50_000))
STEP_METHODS = ("pairwise", "loop over positives", "loop over buckets", "bucketed", "exact", "focal")
IN_CALLS = "exact, in the detector's calls"
DOUBLED_POSITIVES = [4096 << k for k in range(5)]
DOUBLED_NEGATIVES = [1_000_000 << k for k in range(7)]


@dataclass(frozen=True)
class Setting:
    """Where to measure and to write. largest: number of negatives; where: see `environment`."""

    device: torch.device
    largest: int
    where: dict[str, Any]
    results: Path

    @property
    def label(self) -> str:
        return "gpu" if self.device.type == "cuda" else f"cpu_{self.where['threads']}"

    def __str__(self) -> str:
        threads = "1 thread" if self.where["threads"] == 1 else f"{self.where['threads']} threads"
        versions = f"Python {self.where['python']}, torch {self.where['torch']}"
        return f"{self.where['device']}, {threads}, {versions}, delta {DELTA}"

    def record(self, part: str, positives: int, negatives: int, times: dict[str, Times]) -> None:
        """One line of the CSV for each method."""
        case = self.where | {"part": part, "P": positives, "N": negatives}
        rows = [
            case | dict(method=method, ms=f"{t.p50:.4g}", ms_p20=f"{t.p20:.4g}", ms_p80=f"{t.p80:.4g}", runs=t.runs)
            for method, t in times.items()
        ]
        append_csv(self.results / "losses.csv", COLUMNS, rows)


def grid(setting: Setting) -> str:
    """Every size and method: exact in milliseconds, the others as multiples of it."""
    others = [name for name in METHODS if name != "exact"]
    rows = []
    for negatives in (n for n in NEGATIVES if n <= setting.largest):
        for positives in (p for p in POSITIVES if p <= negatives):
            times, memory = race_methods(setting.device, positives, negatives)
            setting.record("grid", positives, negatives, times)
            ratios = [ratio(times.get(name), times["exact"]) for name in others]
            rows.append([size(positives), size(negatives), milliseconds(times["exact"]), *ratios, f"{memory:.1f}"])
            print(" ".join(rows[-1]), flush=True)
    table = markdown(["P", "N", "exact, ms", *others, "memory"], rows)
    remark = "Methods: how many times as long as exact. Memory: of exact, peak, in multiples of the logits' bytes."
    return f"{remark}\n\n{table}"


def race_methods(device: torch.device, positives: int, negatives: int) -> tuple[dict[str, Times], float]:
    """Times of each method, and the peak memory of exact as a multiple of the logits."""
    x, y = problems.make(positives, negatives, device=device)
    run = {name: partial(f, x, y) for name, f in METHODS.items() if feasible(name, positives, negatives)}
    memory = peak_memory(run["exact"], x.device) / (4 * len(x))
    return race(run, device, replace(EFFORT, seconds=1.0)), memory


def growth(setting: Setting) -> str:
    """Doubling P at N = 1M, and N at P = 1k. Sizes are run in turn, so that a drift strikes all alike."""
    methods = ("exact", "torch.sort", "bandwidth")
    by_positives = _grown(setting, methods, [(p, 1_000_000) for p in DOUBLED_POSITIVES])
    sizes = [(1000, n) for n in DOUBLED_NEGATIVES if n <= setting.largest * 1.1]
    by_negatives = _grown(setting, methods, sizes)
    draw_growth(setting.results / f"growth_{setting.label}.png", str(setting), by_positives, by_negatives)
    return "\n\n".join(
        f"{title}\n\n{_growth_table(times, methods)}"
        for title, times in (("P doubled, N = 1M", by_positives), ("N doubled, P = 1k", by_negatives))
    )


def _grown(setting: Setting, methods: tuple[str, ...], sizes: list[tuple[int, int]]) -> Growth:
    made = {s: problems.make(*s, device=setting.device) for s in sizes}
    runs = {(s, name): partial(METHODS[name], *made[s]) for s in sizes for name in methods}
    times = race(runs, setting.device, EFFORT)
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
    times = race_step(setting.device, calls)
    positives, negatives = (
        sum(n) for n in zip(*((int((y > 0).sum()), int((y == 0).sum())) for _, y in each), strict=True)
    )
    setting.record("step", positives, negatives, times)
    fastest = times[IN_CALLS]
    rows = [[name, milliseconds(t), ratio(t, fastest)] for name, t in times.items()]
    return markdown(["method", "ms", "multiple"], rows)


def race_step(device: torch.device, calls: list[list[problems.Problem]]) -> dict[str, Times]:
    """Times of all problems of a step by each method, one by one, and by exact in the calls that a detector makes."""
    each = [problem for call in calls for problem in call]
    runs = {name: partial(_solve_all, METHODS[name], each) for name in STEP_METHODS}
    runs[IN_CALLS] = partial(_solve_calls, calls)
    return race(runs, device, replace(EFFORT, seconds=10.0))


ALL_PAIRS, TABLES = dict(few_pairs=1 << 62), dict(few_pairs=-1, few_positives=0)
ALL_POSITIVES, DOMINANCE = dict(few_positive_pairs=1 << 62), dict(few_positive_pairs=-1)
CROSSOVERS = {  # (P, N) around each of `blocks.Limits`, and the two ways of summing that it chooses between
    "few_pairs": ([(p, k * 100_000 // p) for p in (30, 300) for k in (1, 2, 4, 8, 16)], ALL_PAIRS, TABLES),
    "few_positives": ([(p, n) for n in (100_000, 1_000_000) for p in (2, 4, 6, 8, 12)], ALL_PAIRS, TABLES),
    "few_positive_pairs": ([(p, 1000) for p in (200, 400, 632, 1000, 2000)], ALL_POSITIVES, DOMINANCE),
}


def limits(setting: Setting) -> str:
    """Below each limit the first way should be the quicker, above it the second."""
    rows = []
    for name, (sizes, below, above) in CROSSOVERS.items():
        for positives, negatives in sizes:
            problem = problems.make(positives, negatives, device=setting.device)
            runs = {way: partial(_exact_with, changed, *problem) for way, changed in enumerate((below, above))}
            times = race(runs, setting.device, replace(EFFORT, seconds=1.0))
            rows.append(
                [name, str(positives), f"{negatives:,}", *map(milliseconds, times.values()), ratio(*times.values())]
            )
            print(" ".join(rows[-1]), flush=True)
    header = ["limit", "P", "N", "below it, ms", "above it, ms", "first / second"]
    return f"Now: {blocks.limits(setting.device)}\n\n{markdown(header, rows)}"


def _exact_with(changed: dict[str, int], logits: Tensor, targets: Tensor) -> None:
    """A step of "exact" with other limits."""
    with with_limits(logits.device, **changed):
        ranking(logits, targets, "exact")


@contextmanager
def with_limits(device: torch.device, **changed: int) -> Iterator[None]:
    """Some of a device's `blocks.Limits` are others meanwhile."""
    name = "CPU" if device.type == "cpu" else "GPU"
    with patch.object(blocks, name, getattr(blocks, name)._replace(**changed)):
        yield


def _solve_all(method: object, each: list[problems.Problem]) -> None:
    for x, y in each:
        method(x, y)  # type: ignore[operator]


def _solve_calls(calls: list[list[problems.Problem]]) -> None:
    for call in calls:
        logits = [x.detach().requires_grad_() for x, _ in call]
        losses = rank_sort_loss([(x, y) for x, (_, y) in zip(logits, call, strict=True)], delta=DELTA)
        torch.autograd.grad([term for pair in losses for term in pair], logits)


PARTS = {"grid": grid, "growth": growth, "deviation": deviation, "step": step, "limits": limits}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--largest", type=float, default=64e6, help="leave out sizes with more negatives")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write")
    add_debug(parser)
    args = parser.parse_args()
    unknown = set(args.parts) - PARTS.keys()
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no CUDA device here: use --device cpu")
    return args


@ends_with_a_sentence()
def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # events are recorded on the current one
    setting = Setting(device, int(args.largest), environment(device), args.results)
    print(setting, flush=True)
    for name in args.parts or PARTS:
        text = PARTS[name](setting)
        command = f"python -m benchmarks.losses {name} --device {args.device} --threads {args.threads}"
        page = f"{setting}\n\nBy `{command}`\n\n{text}\n"
        write_text(args.results / f"{name}_{setting.label}.md", page)
        print(f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
