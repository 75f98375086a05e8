"""What the losses of a BRS-DETR R50 step launch on a GPU, and the bytes that it reads and writes.

    python -m benchmarks.launches

Needs Triton and no GPU: on the CPU the losses take the ways of a GPU, kernels are counted instead of run, and every
operator of torch that computes counts as one launch that reads its arguments and writes its results; a view counts as
none, and of what is indexed only the entries that are taken. Some operators launch several kernels (a sort, a sum), so
that a profiler on a GPU shows more. Copies count as none: one to the host for each call, one from it for each batch.
Gradients of the terms are given. Beside it focal loss, counted alike. What a GPU makes of it in time depends on its
host more than on these counts: `python -m benchmarks.gpu --only times` measures that. Writes
benchmarks/results/launches.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from brs_detr.files import write_text
from brs_detr.losses import RankSortLoss, blocks, kernels, solving
from brs_detr.timing.recording import focal_loss
from brs_detr.timing.report import environment

from .problems import DELTA, Problem, training_step
from .report import destination, markdown, size

LOSS = RankSortLoss(DELTA, loss_weight=2.0)
RESULTS = Path(__file__).parent / "results" / "launches.md"
HEADER = ("problems", "P", "N", "launches forward", "backward", "bytes")
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
        computes = function.namespace == "aten" and not function.is_view and operator not in ALLOCATING
        if computes and any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
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
    """Takes a kernel's place, and counts its launches: each argument is read or written once.

    size: bytes, of a kernel that leaves most of its arguments alone. function: what the host reads of its results.
    """

    def __init__(
        self,
        name: str,
        launches: Launches,
        size: Callable[..., int] = lambda *args: size_of(args),
        function: Callable[..., None] | None = None,
    ) -> None:
        self.name, self.launches, self.size, self.function = name, launches, size, function

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*args: Any) -> None:
            with _disable_current_modes():
                self.launches.add(self.name, self.size(*args))
                if self.function is not None:
                    self.function(*args)

        return launch


def scan(logits: Tensor, targets: Tensor, lowest: Tensor, highest: Tensor, numbers: Tensor, *sizes: int) -> None:
    """As the kernel, but with all extremes 0."""
    _, length, blocks = sizes
    padded = torch.nn.functional.pad(targets > 0, (0, -length % kernels.BLOCK))
    torch.sum(padded.unflatten(1, (blocks, kernels.BLOCK)), -1, dtype=torch.int32, out=numbers)
    lowest.zero_(), highest.zero_()


def summarise(lowest: Tensor, highest: Tensor, numbers: Tensor, before: Tensor, statistics: Tensor, *_: int) -> None:
    """As the kernel, but with all extremes 0."""
    statistics.zero_()[:, 4] = numbers.sum(-1)


def collected(
    logits: Tensor, targets: Tensor, numbers: Tensor, before: Tensor, fields: Tensor, source: Tensor, *_: int
) -> int:
    """Bytes: targets in blocks with positives, logits of positives."""
    searched = min(targets.numel(), int(numbers.count_nonzero()) * kernels.BLOCK) * targets.itemsize
    return searched + len(source) * logits.itemsize + size_of((numbers, before, fields, source))


def put(result: Tensor, values: Tensor, source: Tensor, *_: int) -> int:
    """Bytes: the gradient at positives."""
    return size_of((values, source)) + source.numel() * result.itemsize


@contextmanager
def as_on_a_gpu() -> Iterator[Launches]:
    """Counts what a GPU would do; values are void."""
    launches = Launches()
    counted = {name: Counted(name, launches) for name in kernels.NAMES}
    counted["scan"].function, counted["summarise"].function = scan, summarise
    counted["collect"].size, counted["put"].size = collected, put
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(blocks, "CPU", blocks.GPU))
        stack.enter_context(mock.patch.object(solving, "use_kernels", return_value=True))
        stack.enter_context(mock.patch.multiple(kernels, **counted))
        stack.enter_context(launches)
        yield launches


class Cost(NamedTuple):
    """Launches of the forward and of the backward pass, and the bytes of both."""

    forward: int
    backward: int
    bytes: int

    def cells(self, needed: int) -> list[str]:
        return [str(self.forward), str(self.backward), f"{self.bytes / needed:.2f}"]


def total(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(*costs, strict=True)))


def rank_sort(inputs: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [term for pair in LOSS(inputs) for term in pair]


def focal(inputs: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """As mmdet computes it where mmcv is not compiled."""
    return [focal_loss(x, y) for x, y in inputs]


def count(problems: list[Problem], loss: Callable[[list[tuple[Tensor, Tensor]]], list[Tensor]] = rank_sort) -> Cost:
    """Of one call."""
    logits = [x.detach().requires_grad_() for x, _ in problems]
    with as_on_a_gpu() as launches:
        terms = loss([(x, y) for x, (_, y) in zip(logits, problems, strict=True)])
        forward = launches.number.total()
        with _disable_current_modes():
            from_above = [torch.ones_like(term) for term in terms]
        torch.autograd.grad(terms, logits, from_above)
    return Cost(forward, launches.number.total() - forward, launches.bytes)


def fused_focal(problems: list[Problem]) -> Cost:
    """Of a kernel each way that reads logits and targets, and keeps nothing: not counted but supposed."""
    return Cost(len(problems), len(problems), sum(3 * x.nbytes + 2 * y.nbytes for x, y in problems))


def needed(problems: list[Problem]) -> int:
    """Bytes of reading logits and targets and writing a gradient once."""
    return sum(2 * x.nbytes + y.nbytes for x, y in problems)


def table(calls: list[list[Problem]]) -> str:
    """A line for each call, one for all of them, and focal loss of the same problems."""
    rows, costs, every = [], [count(call) for call in calls], [problem for call in calls for problem in call]
    for call, cost in zip(calls, costs, strict=True):
        positives, negatives = (sum(int(f(y).sum()) for _, y in call) for f in (lambda y: y > 0, lambda y: y == 0))
        rows.append([str(len(call)), str(positives), size(negatives), *cost.cells(needed(call))])
    for name, cost in {
        f"all {len(every)}": total(costs),
        "focal loss of these, by operators": total(count([problem], focal) for problem in every),
        "focal loss of these, a kernel each way": fused_focal(every),
    }.items():
        rows.append([name, "", "", *cost.cells(needed(every))])
    return markdown(HEADER, rows)


def main() -> None:
    out = destination(__doc__, RESULTS)
    where = environment(torch.device("cpu"))
    text = (
        f"Counted on a CPU, Python {where['python']}, torch {where['torch']}, delta {DELTA}, by\n"
        "`python -m benchmarks.launches`: one launch an operator that computes, as `benchmarks/launches.py` says.\n"
        "Bytes read and written are in multiples of reading logits and targets and writing a gradient once. Focal\n"
        "loss: by operators as mmdet computes it without compiled mmcv; and, supposed, by one kernel each way that\n"
        "reads logits and targets and keeps nothing.\n\n"
        f"{table(training_step())}\n"
    )
    print(text)
    write_text(out, text)


if __name__ == "__main__":
    main()
