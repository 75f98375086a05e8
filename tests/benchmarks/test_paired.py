"""Gains between runs of the same seeds."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.paired import another_run, gain


def rows(*values: float | None, first: int = 0) -> list[dict[str, str]]:
    return [{"seed": str(seed), "AP": "" if value is None else str(value)} for seed, value in enumerate(values, first)]


def test_gains_are_between_equal_seeds() -> None:
    assert gain(rows(0.5, 0.9), rows(None, 0.7), "AP") == "+0.200"
    assert gain(rows(0.5), rows(0.7, first=1), "AP") == "-"
    assert gain([], rows(0.7), "AP") == "-"


def test_the_interval_is_students() -> None:
    ours, theirs = (0.5, 0.6, 0.65), (0.45, 0.52, 0.61)
    low, high = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    text = gain(rows(*ours), rows(*theirs), "AP")
    assert text.startswith("+0.057 (")
    assert [float(x) for x in text[8:-1].split(", ")] == pytest.approx([low, high], abs=5e-4)


def test_nearly_all_further_runs_are_where_they_are_expected() -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.01, (2000, 6))
    limits = np.array([another_run(rows(*each[:5]), "AP").split(" to ") for each in draws], float)
    inside = (limits[:, 0] <= draws[:, 5]) & (draws[:, 5] <= limits[:, 1])
    assert inside.mean() == pytest.approx(0.95, abs=0.02)
    assert another_run(rows(0.7, None), "AP") == "-"
