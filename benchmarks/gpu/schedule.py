"""Which case is next, and whether the time left suffices for it."""

import time
from collections.abc import Callable, Iterable

from .cases import Case, Part, Setting
from .isolation import Outcome
from .results import Results

PATIENCE = 4  # times what a case is expected to take; then it hangs
Execute = Callable[[Case, float], Outcome]  # within so many seconds


class Budget:
    """Seconds of which some are left."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock, self.began = seconds, clock, clock()

    def left(self) -> float:
        return self.seconds - (self.clock() - self.began)


def run(parts: Iterable[Part], setting: Setting, results: Results, budget: Budget, execute: Execute) -> None:
    """Measure what has no rows yet, in the order of the parts. Each case is on disk as soon as it ends.

    A case that was under way when an earlier run was killed may be what killed it, and comes after all others.
    """
    waiting = [(part, case) for part in parts for case in part.cases(setting) if not results.has(part, case)]
    for part, case in sorted(waiting, key=lambda each: results.began(*each)):
        left = budget.left()
        if case.seconds > left:
            results.skip(part, case, f"it takes {case.seconds:.0f} s, and {max(left, 0):.0f} s were left.")
            continue
        results.begin(part, case)
        start = budget.clock()
        outcome = execute(case, min(PATIENCE * case.seconds, left))
        results.end(part, case, outcome, budget.clock() - start)
