"""Learning-rate schedules as configs give them, also where a checkpoint was trained by another one.

A warm-up is a part of the run, however short the run is.
"""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import Runner

PREFIXES = "", "initial_", "max_", "min_"  # of the name of what a schedule sets, in a group of weights
LEAST = 2  # iterations: mmengine reaches the full rate in the last, and keeps the first rate where there is one only
SHARE = 10  # a warm-up takes at most one part in so many of a run


def with_each(schedulers: Any, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """mmengine's schedulers, each replaced by what `changed` makes of it.

    schedulers: one, a list, or a dict of them by optimiser; None and built ones stay as they are.
    """
    if isinstance(schedulers, (list, tuple)):
        return [with_each(each, changed) for each in schedulers]
    if not isinstance(schedulers, dict):
        return schedulers
    if "type" not in schedulers:
        return {name: with_each(each, changed) for name, each in schedulers.items()}
    return changed(copy.deepcopy(schedulers))


def with_short_warm_up(schedulers: Any, iterations: int) -> Any:
    """mmengine's schedulers, in which a linear warm-up by iterations ends within a tenth of the run."""

    def shortened(scheduler: dict[str, Any]) -> dict[str, Any]:
        is_warm_up = str(scheduler["type"]).startswith("Linear") and not scheduler.get("by_epoch", True)
        if is_warm_up and not scheduler.get("begin", 0) and "end" in scheduler:
            scheduler["end"] = min(scheduler["end"], max(LEAST, iterations // SHARE))
        return scheduler

    return with_each(schedulers, shortened)


@dataclass(frozen=True)
class Schedule:
    """What sets a runner's learning rates and momenta, before the first iteration.

    schedulers: mmengine's. groups: the settings of the optimizer's groups of weights.
    """

    schedulers: list[_ParamScheduler]
    groups: list[dict[str, Any]]

    @classmethod
    def of(cls, runner: Runner) -> "Schedule":
        """Of a runner that has not trained. What it does later changes nothing here."""
        groups = [{key: value for key, value in group.items() if key != "params"} for group in _groups(runner)]
        return cls([copy.copy(each) for each in runner.param_schedulers or []], groups)

    def is_that_of(self, states: Sequence[Mapping[str, Any]]) -> bool:
        """Whether schedulers whose states were saved had the same settings as these."""
        return len(states) == len(self.schedulers) and all(map(_has_settings_of, states, self.schedulers))

    @property
    def by_evaluations(self) -> list[str]:
        """The schedulers whose steps depend on metrics, so that they cannot be repeated."""
        return [type(each).__name__ for each in self.schedulers if getattr(each, "need_val_args", False)]

    def replay(self, runner: Runner, epochs: int, iterations: int, length: int) -> None:
        """Bring a runner to where it would be by this schedule alone.

        mmengine's schedulers know their next value from the last one only, hence each step is repeated.

        epochs, iterations: that are done. length: iterations of an epoch.
        """
        names = {"lr", *(each.param_name for each in [*self.schedulers, *(runner.param_schedulers or [])])}
        keys = {prefix + name for prefix in PREFIXES for name in names}
        for group, settings in zip(_groups(runner), self.groups, strict=True):
            group.update({key: value for key, value in settings.items() if key in keys})
        if runner.param_schedulers is not None:
            runner.param_schedulers = self.schedulers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mmengine wants a step of the optimizer first
            for done in range(1, iterations + 1):
                self._step(by_epoch=False)
                if done % length == 0 and done <= epochs * length:
                    self._step(by_epoch=True)

    def _step(self, by_epoch: bool) -> None:
        for scheduler in self.schedulers:
            if scheduler.by_epoch == by_epoch:
                scheduler.step()


def _groups(runner: Runner) -> list[dict[str, Any]]:
    return runner.optim_wrapper.param_groups


def _has_settings_of(state: Mapping[str, Any], scheduler: _ParamScheduler) -> bool:
    """Whether a saved state is of such a scheduler with the arguments of this one, wherever it stands."""
    own = {name: value for name, value in vars(scheduler).items() if name != "optimizer"}
    builders = (vars(kind)["__init__"] for kind in type(scheduler).__mro__ if "__init__" in vars(kind))
    arguments = {name for each in builders for name in signature(each).parameters}
    settings = (own.keys() & arguments) - {"last_step", "verbose"}
    return own.keys() == state.keys() and all(own[name] == state[name] for name in settings)
