"""What one way of training gains over another, from runs with the same seeds, and how far equal runs differ."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
HEADER = f"{100 * CONFIDENCE:.0f} % interval"  # of the mean difference, by Student's t


def gain(rows: Sequence[Mapping[str, str]], others: Sequence[Mapping[str, str]], column: str) -> str:
    """The mean difference of a column between rows of equal seed; of two and more its interval: +0.030 (0.010, 0.050).

    "-" without a common seed.
    """
    theirs = {row["seed"]: float(row[column]) for row in others if row[column]}
    found = [float(row[column]) - theirs[row["seed"]] for row in rows if row["seed"] in theirs and row[column]]
    if not found:
        return "-"
    mean = float(np.mean(found))
    if len(found) == 1:
        return f"{mean:+.3f}"
    half = float(_student(len(found)) * stats.sem(found))
    return f"{mean:+.3f} ({mean - half:+.3f}, {mean + half:+.3f})"


def another_run(rows: Sequence[Mapping[str, str]], column: str) -> str:
    """Between what a run with another seed is to be expected, by Student's t: 0.690 to 0.710; "-" of less than two."""
    found = [float(row[column]) for row in rows if row[column]]
    if len(found) < 2:
        return "-"
    mean, half = np.mean(found), _student(len(found)) * np.std(found, ddof=1) * np.sqrt(1 + 1 / len(found))
    return f"{mean - half:.3f} to {mean + half:.3f}"


def _student(number: int) -> float:
    return stats.t.ppf((1 + CONFIDENCE) / 2, number - 1)
