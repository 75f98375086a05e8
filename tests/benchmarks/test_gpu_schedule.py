"""What the GPU benchmark measures next, what it leaves out, and what is on disk when it is killed."""

import json
import os
import signal
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier, Lock

import pytest

from benchmarks.gpu.cases import Case, Part, Row, Setting
from benchmarks.gpu.isolation import Outcome
from benchmarks.gpu.results import DRY_RUN, RAW, Results
from benchmarks.gpu.schedule import PATIENCE, Budget, run
from brs_detr.errors import InputError

WHERE = {"device": "a processor", "torch": "2.0", "dry run": True}
SETTING = Setting("cpu", True, Path("nowhere"))
SECONDS = {"a": 10.0, "b": 30.0, "c": 5.0, "d": 10.0}


class Clock:
    """A fake clock, and measuring that lets it go on by what cases take."""

    def __init__(self) -> None:
        self.now, self.done = 0.0, list[str]()
        self.limits = dict[str, float]()

    def execute(self, case: Case, seconds: float) -> Outcome:
        self.done.append(case.name)
        self.limits[case.name] = seconds
        self.now += case.seconds
        return Outcome(rows=[{"case": case.name, "ms": 1.5}])

    def budget(self, seconds: float) -> Budget:
        return Budget(seconds, lambda: self.now)


def nothing() -> list[Row]:
    return []


def part(name: str, *cases: str) -> Part:
    return Part(name, f"Of {name}.", lambda setting: [Case(case, SECONDS[case], nothing) for case in cases])


PARTS = [part("first", "a", "b"), part("second", "c", "d")]


def measured(folder: Path, clock: Clock, seconds: float = 1000.0) -> Results:
    results = Results(folder, WHERE)
    run(PARTS, SETTING, results, clock.budget(seconds), clock.execute)
    return results


def test_parts_in_their_order_and_nothing_twice(tmp_path: Path) -> None:
    clock = Clock()
    measured(tmp_path, clock)
    assert clock.done == ["a", "b", "c", "d"]
    measured(tmp_path, clock)
    assert clock.done == ["a", "b", "c", "d"]
    page = (tmp_path / "gpu_first.md").read_text()
    assert page.startswith(DRY_RUN)
    assert "a processor, torch 2.0" in page
    assert "Of first." in page
    assert "|    a | 1.5 |" in page
    assert "Not measured" not in page


def test_checks_go_side_by_side_and_times_alone(tmp_path: Path) -> None:
    under_way, most = set[str](), dict[str, int]()
    together, lock = Barrier(2, timeout=60), Lock()

    def execute(case: Case, seconds: float) -> Outcome:
        with lock:
            under_way.add(case.name)
        if case.name in "ab":
            together.wait()
        with lock:
            most[case.name] = len(under_way)
            under_way.remove(case.name)
        return Outcome(rows=[{"case": case.name}])

    parts, results = [replace(PARTS[0], alone=False), PARTS[1]], Results(tmp_path, WHERE)
    run(parts, SETTING, results, Clock().budget(1000.0), execute, jobs=2)
    assert max(most["a"], most["b"]) == 2
    assert most["c"] == most["d"] == 1
    assert {row["case"] for row in Results(tmp_path, WHERE).rows("first")} == {"a", "b"}


def test_what_does_not_fit_is_left_out_and_measured_next_time(tmp_path: Path) -> None:
    clock = Clock()
    results = measured(tmp_path, clock, seconds=26.0)
    assert clock.done == ["a", "c", "d"]
    assert clock.now <= 26.0
    assert results.missing("first") == {"b": "left out, it takes 30 s, and 16 s were left."}
    assert "- b: left out, it takes 30 s" in (tmp_path / "gpu_first.md").read_text()
    assert clock.limits == {"a": 26.0, "c": 16.0, "d": 11.0}
    clock = Clock()
    assert not measured(tmp_path, clock).missing("first")
    assert clock.done == ["b"]
    assert clock.limits == {"b": PATIENCE * 30.0}


def test_a_failure_is_said_and_tried_again(tmp_path: Path) -> None:
    clock, results = Clock(), Results(tmp_path, WHERE)

    def execute(case: Case, seconds: float) -> Outcome:
        return Outcome(failed="the kernel is broken.") if case.name == "a" else clock.execute(case, seconds)

    run(PARTS, SETTING, results, clock.budget(1000.0), execute)
    assert clock.done == ["b", "c", "d"]
    assert "- a: the kernel is broken." in (tmp_path / "gpu_first.md").read_text()
    run(PARTS, SETTING, results, clock.budget(5.0), execute)  # no time to try again: the reason stays
    assert results.missing("first") == {"a": "the kernel is broken."}
    clock = Clock()
    assert not measured(tmp_path, clock).missing("first")
    assert clock.done == ["a"]


def killed(folder: Path) -> None:
    """Measures until the second case."""
    clock = Clock()

    def execute(case: Case, seconds: float) -> Outcome:
        if case.name == "b":
            os.kill(os.getpid(), signal.SIGKILL)
        return clock.execute(case, seconds)

    run(PARTS, SETTING, Results(folder, WHERE), clock.budget(1000.0), execute)


def test_a_killed_run_goes_on_with_what_comes_next(tmp_path: Path) -> None:
    process = get_context("fork").Process(target=partial(killed, tmp_path))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert "- b: a run was ended while it was measured" in (tmp_path / "gpu_first.md").read_text()
    clock = Clock()
    results = measured(tmp_path, clock)
    assert clock.done == ["c", "d", "b"]
    assert [row["case"] for row in results.rows("first")] == ["a", "b"]


def test_forgotten_parts_are_measured_again(tmp_path: Path) -> None:
    results, clock = measured(tmp_path, Clock()), Clock()
    results.forget("second")
    run(PARTS, SETTING, results, clock.budget(1000.0), clock.execute)
    assert clock.done == ["c", "d"]


def test_results_of_another_device_are_not_mixed(tmp_path: Path) -> None:
    measured(tmp_path, Clock())
    before = (tmp_path / RAW).read_text()
    with pytest.raises(InputError, match="measured with device a processor, triton None:"):
        Results(tmp_path, {**WHERE, "device": "another", "triton": "3"})
    assert (tmp_path / RAW).read_text() == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        json.dumps({"where": WHERE}),
        json.dumps({"where": WHERE, "parts": {"first": {"a": {}}}}),
        json.dumps({"where": WHERE, "parts": {"first": {"a": {"rows": [{"ms": [1]}]}}}}),
        json.dumps({"where": WHERE, "parts": {"first": {"a": {"rows": [], "failed": "no"}}}}),
        json.dumps({"where": WHERE, "parts": {"first": {"a": "rows"}}}),
    ],
)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / RAW).write_text(content)
    with pytest.raises(InputError, match="not what this command wrote"):
        Results(tmp_path, WHERE)
    assert (tmp_path / RAW).read_text() == content
