"""What it costs to rank the samples of several processes together: collectives, bytes and time.

    python -m benchmarks.processes

Each process solves the ranking problems of a BRS-DETR R50 step, of its own images, in one thread; first by itself,
then together with the others by gloo, as `--sync-ranking` does. The last rows have other numbers of negatives.
Writes benchmarks/results/processes_cpu.md.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor

from brs_detr.files import write_text
from brs_detr.losses import Call, solve
from brs_detr.losses.rank_sort import RankAndSort
from brs_detr.losses.step import SmoothedStep
from brs_detr.timing.report import environment

from .problems import DELTA, STEP, make
from .report import destination, markdown, size

RESULTS = Path(__file__).parent / "results" / "processes_cpu.md"
REPEATS = 5
HEADER = [
    "processes",
    "negatives of each",
    "alone, ms",
    "together, ms",
    "in exchange, ms",
    "collectives",
    "bytes given",
]


@dataclass
class Exchanges:
    """The collectives of this process, the bytes that it gives to them, and the seconds that it is in them."""

    number: int = 0
    sent: int = 0
    seconds: float = 0.0

    def watch(self, collective: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = collective(*args, **kwargs)
            self.seconds += time.perf_counter() - start
            self.number, self.sent = self.number + 1, self.sent + args[-1].nbytes
            return result

        return watched


def step_of(rank: int, scale: float) -> list[tuple[Tensor, Tensor]]:
    """The problems of a step of two images, with so many times the negatives."""
    return [
        make(positives // 2, int(negatives * scale) // 2, seed=100 * rank + k)
        for positives, negatives, times in STEP.values()
        for k in range(times)
    ]


def gradient(problems: list[tuple[Tensor, Tensor]], group: dist.ProcessGroup | None) -> None:
    inputs = [(logits.detach().requires_grad_(), targets) for logits, targets in problems]
    call = Call(RankAndSort(SmoothedStep(DELTA)), "exact", (inputs, None), "step")
    torch.autograd.backward([terms.ranking + terms.sorting for terms in solve([call], group)[0]])


def median_ms(run: Callable[[], None]) -> float:
    times = []
    for _ in range(REPEATS + 1):
        dist.barrier()
        start = time.perf_counter()
        run()
        dist.barrier()  # as slow as the slowest
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def measure(rank: int, processes: int, scale: float, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=processes)
    problems, exchanges = step_of(rank, scale), Exchanges()
    alone = median_ms(lambda: gradient(problems, None))
    with (
        mock.patch.object(dist, "all_gather", exchanges.watch(dist.all_gather)),
        mock.patch.object(dist, "all_reduce", exchanges.watch(dist.all_reduce)),
    ):
        together = median_ms(lambda: gradient(problems, dist.group.WORLD))
    if rank == 0:
        runs, negatives = REPEATS + 1, sum(len(logits) for logits, _ in problems)
        numbers = [f"{alone:,.0f}", f"{together:,.0f}", f"{1e3 * exchanges.seconds / runs:.1f}"]
        counts = [str(exchanges.number // runs), f"{exchanges.sent // runs:,}"]
        Path(folder, "row").write_text("\t".join([str(processes), size(negatives), *numbers, *counts]))
    dist.destroy_process_group()


def row(processes: int, scale: float) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(measure, (processes, scale, folder), processes, start_method="spawn")
        return Path(folder, "row").read_text().split("\t")


def main() -> None:
    out = destination(__doc__, RESULTS)
    rows = [row(*setting) for setting in ((1, 1.0), (2, 1.0), (3, 1.0), (2, 0.1), (2, 0.01))]
    where = environment(torch.device("cpu"))
    title = f"{where['device']}, one thread a process, Python {where['python']}, torch {where['torch']}, gloo"
    note = "Time in exchange is that in which a process waits for the others, too."
    text = f"{title}\n\nBy `python -m benchmarks.processes`. {note}\n\n{markdown(HEADER, rows)}\n"
    print(text)
    write_text(out, text)


if __name__ == "__main__":
    main()
