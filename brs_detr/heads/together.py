"""What all heads of a detector rank in a step, solved together, where it is ranked over several processes.

Each exchange between processes costs the same however little it carries, and a detector has up to ten heads. So their
problems and box losses are collected while the detector computes its losses, which are known when it has ended.

head ──> ranked, means ──> Later, Later ──> when_known ──> {"loss_rank": Later, ...} ──┐
         Together: solve, weighted_means <── the detector's last head has ended <──────┴──> {"loss_rank": Tensor, ...}
"""

import operator
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.utils._pytree import tree_map

from brs_detr.losses import Call, RankingLoss, solve, weighted_means

MODULE = "together_loss_cls"  # what times classification losses finds them by the end of their names


class Later:
    """A function of what is not known yet. The one operation that detectors do with a loss is to weigh it."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self._compute: Callable[[], Any] | None = lambda: function(*map(known, args))
        self._value: Any = None

    def value(self) -> Any:
        if self._compute is not None:
            self._value, self._compute = self._compute(), None
        return self._value

    def __mul__(self, factor: float | Tensor) -> "Later":
        return Later(operator.mul, self, factor)

    __rmul__ = __mul__


def known(value: Any) -> Any:
    """A `Later`'s value, anything else as it is."""
    return value.value() if isinstance(value, Later) else value


def when_known(function: Callable, *args: Any) -> Any:
    """function(*args), now if all of them are known."""
    return Later(function, *args) if any(isinstance(arg, Later) for arg in args) else function(*args)


def losses_when_known(names: Sequence[str], function: Callable, *args: Any) -> dict[str, Any]:
    """The losses that `function` returns under these names."""
    losses = when_known(function, *args)
    return {name: Later(operator.getitem, losses, name) for name in names} if isinstance(losses, Later) else losses


class Together(nn.Module):
    """The ranking problems and the box losses of one step."""

    def __init__(self) -> None:
        super().__init__()
        self._forget()

    def _forget(self) -> None:
        self._ranked: list[Call] = []
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._group: ProcessGroup | None = None
        self._results: list[Any] = []
        self._means: list[Tensor] = []

    def begin(self, detector: nn.Module, args: Any) -> None:
        """Before a detector's forward: heads leave here what they rank."""
        self._forget()
        _collecting.set(self)

    def end(self, detector: nn.Module, args: Any, outputs: Any) -> Any:
        """After it: its losses, known. Also called where it ended with an error, for nothing."""
        _collecting.set(None)
        try:
            if self._group is not None and outputs is not None:
                self._solve()
                return tree_map(known, outputs)
        finally:
            self._forget()

    def rank(self, loss: RankingLoss, problems: Sequence[tuple[Tensor, ...]], names: Sequence[str]) -> list[Later]:
        self._group, place = loss.group, len(self._ranked)
        self._ranked.append(loss.call(problems, name=names))
        return [Later(lambda k=k: self._results[place][k]) for k in range(len(problems))]

    def mean(self, pairs: Sequence[tuple[Tensor, Tensor]], group: ProcessGroup) -> list[Later]:
        self._group, first = group, len(self._pairs)
        self._pairs += pairs
        return [Later(lambda k=k: self._means[k]) for k in range(first, len(self._pairs))]

    def _solve(self) -> None:
        self._results = self(self._ranked)
        self._means = weighted_means(self._pairs, self._group)

    def forward(self, calls: list[Call]) -> list[Any]:
        """The results of all calls. A module's, so that it is timed as any other classification loss."""
        return solve(calls, self._group)


_collecting: ContextVar[Together | None] = ContextVar("collecting", default=None)


def rank_together(detector: nn.Module) -> None:
    """Collects what the heads of a detector rank over several processes; where none does, nothing is changed."""
    if any(isinstance(module, RankingLoss) and module.group is not None for module in detector.modules()):
        together = Together()
        detector.add_module(MODULE, together)
        detector.register_forward_pre_hook(together.begin)
        detector.register_forward_hook(together.end, always_call=True)


def ranked(loss: RankingLoss, problems: Sequence[tuple[Tensor, ...]], names: Sequence[str]) -> list[Any]:
    """What `loss` returns for each problem, or a `Later` of it. names: of the problems, for error messages."""
    if loss.group is not None and (together := _collecting.get()):
        return together.rank(loss, problems, names)
    if len(problems) == 1:
        logits, targets, *others = problems[0]
        return [loss(logits, targets, name=names[0], **dict(zip(("localisation",), others, strict=False)))]
    return loss(problems, name=names)


def means(pairs: Sequence[tuple[Tensor, Tensor]], group: ProcessGroup | None) -> list[Any]:
    """`weighted_mean` of each pair (values, weights), or a `Later` of it."""
    if group is not None and (together := _collecting.get()):
        return together.mean(pairs, group)
    return weighted_means(pairs, group)
