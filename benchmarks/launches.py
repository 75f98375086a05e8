"""What the losses of a BRS-DETR R50 step launch on a GPU, and the bytes that it reads and writes.

    python -m benchmarks.launches

Needs Triton and no GPU: on the CPU the losses take the ways of a GPU, kernels are counted instead of run, and every
operator of torch that computes counts as one launch that reads its arguments and writes its results; a view counts as
none, and of what is indexed only the entries that are taken. Some operators launch several kernels (a sort, a prefix
sum), so that a profiler on a GPU shows more. Writes benchmarks/results/launches.md.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from brs_detr.files import write_text
from brs_detr.losses import blocks, kernels, rank_sort_loss, solving
from brs_detr.timing.report import environment

from .problems import DELTA, Problem, training_step
from .report import markdown, size

RESULTS = Path(__file__).parent / "results" / "launches.md"
HEADER = ("problems", "P", "N", "launches forward", "backward", "bytes read and written")
KERNELS = ("histogram", "gradient", "pair_sums")
aten = torch.ops.aten
ALLOCATING = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided}
FILLING = {
    aten.new_zeros,
    aten.new_ones,
    aten.new_full,
    aten.zeros_like,
    aten.ones_like,
    aten.full_like,
}  # read nothing
TAKING = {aten.index, aten.index_select, aten.gather}  # parts of the first argument
PUTTING = {aten.index_put_, aten._index_put_impl_, aten.index_copy_, aten.scatter_, aten.index_add_}


class Launches(TorchDispatchMode):
    """Counts launches by operator, and the bytes of what they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.bytes = Counter[str](), 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result, operator = function(*args, **(kwargs or {})), function.overloadpacket
        if function.namespace == "aten" and not function.is_view and operator not in ALLOCATING:
            self.add(str(operator), moved(operator, args, kwargs, result))
        return result

    def add(self, name: str, size: int) -> None:
        self.number[name] += 1
        self.bytes += size


def moved(operator: Any, args: tuple, kwargs: dict | None, result: Any) -> int:
    """Bytes that an operator reads and writes."""
    if operator in FILLING:
        return size_of(result)
    if operator in TAKING:
        return size_of(args[1:]) + 2 * size_of(result)
    if operator in PUTTING:
        return 2 * size_of(args[1:])
    return size_of((args, kwargs)) + size_of(result)


def size_of(values: Any) -> int:
    """Bytes of all tensors among values; an expanded dimension is there once."""
    return sum(_extent(leaf) for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _extent(tensor: Tensor) -> int:
    lengths = (n if stride else min(n, 1) for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return int(torch.Size(lengths).numel()) * tensor.itemsize


class Counted:
    """Takes a kernel's place, and counts its launches. function: what the host reads of its results, if anything."""

    def __init__(self, name: str, launches: Launches, function: Callable[..., None] | None = None) -> None:
        self.name, self.launches, self.function = name, launches, function

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*args: Any, **sizes: int) -> None:
            self.launches.add(self.name, size_of(args))
            if self.function is not None:
                with _disable_current_modes():
                    self.function(*args)

        return launch


def scan(
    logits: Tensor, targets: Tensor, positive: Tensor, lowest: Tensor, highest: Tensor, numbers: Tensor, *_
) -> None:
    """As the kernel, but with all extremes 0."""
    torch.gt(targets, 0, out=positive)
    numbers.zero_()[:, 0] = positive.sum(-1)
    lowest.zero_(), highest.zero_()


@contextmanager
def as_on_a_gpu() -> Iterator[Launches]:
    """Counts what a GPU would do; values are void."""
    launches = Launches()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(blocks, "CPU", blocks.GPU))
        stack.enter_context(mock.patch.object(solving, "use_kernels", return_value=True))
        stack.enter_context(mock.patch.object(kernels, "scan", Counted("scan", launches, scan)))
        stack.enter_context(mock.patch.multiple(kernels, **{name: Counted(name, launches) for name in KERNELS}))
        stack.enter_context(launches)
        yield launches


def count(problems: list[Problem]) -> tuple[int, int, int]:
    """Launches of the forward and of the backward pass of one call, and their bytes."""
    logits = [x.detach().requires_grad_() for x, _ in problems]
    with as_on_a_gpu() as launches:
        losses = rank_sort_loss([(x, y) for x, (_, y) in zip(logits, problems, strict=True)], delta=DELTA)
        forward = launches.number.total()
        torch.autograd.grad([term for pair in losses for term in pair], logits)
    return forward, launches.number.total() - forward, launches.bytes


def needed(problems: list[Problem]) -> int:
    """Bytes of reading logits and targets and writing a gradient once."""
    return sum(2 * x.nbytes + y.nbytes for x, y in problems)


def table(calls: list[list[Problem]]) -> str:
    """A line for each call, and one for all of them."""
    counts, rows = [count(call) for call in calls], []
    for call, (forward, backward, moved_bytes) in zip(calls, counts, strict=True):
        positives, negatives = (sum(int(f(y).sum()) for _, y in call) for f in (lambda y: y > 0, lambda y: y == 0))
        multiple = f"{moved_bytes / needed(call):.2f}"
        rows.append([str(len(call)), str(positives), size(negatives), str(forward), str(backward), multiple])
    forward, backward, moved_bytes = (sum(column) for column in zip(*counts, strict=True))
    multiple = f"{moved_bytes / sum(map(needed, calls)):.2f}"
    rows.append([f"all {sum(map(len, calls))}", "", "", str(forward), str(backward), multiple])
    return markdown(HEADER, rows)


def main() -> None:
    where = environment(torch.device("cpu"))
    text = (
        f"Counted on a CPU, Python {where['python']}, torch {where['torch']}, delta {DELTA}, by `python -m benchmarks."
        "launches`:\none launch an operator that computes, as `benchmarks/launches.py` says. Bytes in multiples of "
        f"reading logits and\ntargets and writing a gradient once.\n\n{table(training_step())}\n"
    )
    print(text)
    write_text(RESULTS, text)


if __name__ == "__main__":
    main()
