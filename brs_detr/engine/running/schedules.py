"""Learning-rate schedules as configs give them; a warm-up is a part of the run, however short the run is."""

import copy
from collections.abc import Callable
from typing import Any

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
