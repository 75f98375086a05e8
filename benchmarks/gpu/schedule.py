"""Which case is next, and whether the time left suffices for it."""

import time
from collections.abc import Callable, Iterable
from itertools import groupby
from multiprocessing.pool import ThreadPool

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


def run(
    parts: Iterable[Part], setting: Setting, results: Results, budget: Budget, execute: Execute, jobs: int = 1
) -> None:
    """Measure what has no rows yet, in the order of the parts: alone, or so many at a time where times do not matter.
    Each case is on disk as soon as it ends.

    A case that was under way when an earlier run was killed may be what killed it, and comes after all others.
    """

    def measure(each: tuple[Part, Case]) -> None:
        part, case = each
        left = budget.left()
        if case.seconds > left:
            results.skip(part, case, f"it takes {case.seconds:.0f} s, and {max(left, 0):.0f} s were left.")
            return
        results.begin(part, case)
        start = budget.clock()
        outcome = execute(case, min(PATIENCE * case.seconds, left))
        results.end(part, case, outcome, budget.clock() - start)

    waiting = [(part, case) for part in parts for case in part.cases(setting) if not results.has(part, case)]
    in_order = sorted(waiting, key=lambda each: results.began(*each))
    for alone, cases in groupby(in_order, key=lambda each: each[0].alone or results.began(*each)):
        with ThreadPool(1 if alone else jobs) as pool:  # its threads end with the command
            for _ in pool.imap_unordered(measure, cases):
                pass
