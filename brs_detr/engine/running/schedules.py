"""A warm-up is a part of the run, however short the run is."""

import copy
from typing import Any

LEAST = 2  # iterations: mmengine reaches the full rate in the last, and keeps the first rate where there is one only
SHARE = 10  # a warm-up takes at most one part in so many of a run


def with_short_warm_up(schedulers: Any, iterations: int) -> Any:
    """mmengine's schedulers, in which a linear warm-up by iterations ends within a tenth of the run.

    schedulers: one, a list, or a dict of them by optimiser; built ones stay as they are.
    """
    if isinstance(schedulers, (list, tuple)):
        return [with_short_warm_up(each, iterations) for each in schedulers]
    if not isinstance(schedulers, dict):
        return schedulers
    if "type" not in schedulers:
        return {name: with_short_warm_up(each, iterations) for name, each in schedulers.items()}
    is_warm_up = str(schedulers["type"]).startswith("Linear") and not schedulers.get("by_epoch", True)
    if not is_warm_up or schedulers.get("begin", 0) or "end" not in schedulers:
        return schedulers
    shortened = copy.deepcopy(schedulers)
    shortened["end"] = min(schedulers["end"], max(LEAST, iterations // SHARE))
    return shortened
