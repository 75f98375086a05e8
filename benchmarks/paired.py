"""What one way of training gains over another, from runs with the same seeds, with a confidence interval."""

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
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(found) - 1) * stats.sem(found))
    return f"{mean:+.3f} ({mean - half:+.3f}, {mean + half:+.3f})"
