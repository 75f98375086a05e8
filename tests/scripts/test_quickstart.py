"""The quick start's own logic, with a stand-in for Python that only writes files: no result is ever lost."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scripts.processes import ROOT

FAKE_PYTHON = """#!/usr/bin/env bash
echo "$*" >>notes
work=work_dirs/.quickstart-unfinished
case "$*" in
    -c*) echo hash ;;
    *$FAIL_AT*) exit 1 ;;
    scripts/train.py*) mkdir -p $work; echo "$RESULT" >$work/best_epoch.pth ;;
    scripts/test.py*) echo "$RESULT" >$work/metrics.json ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository of scripts, with an environment."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "requirements.txt").write_text("")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return tmp_path


def quickstart(clone: Path, *options: str, result: str = "", fail_at: str = "nothing") -> int:
    environment = {"PATH": os.environ["PATH"], "RESULT": result, "FAIL_AT": fail_at}
    command = ["bash", str(clone / "scripts" / "quickstart.sh"), *options]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def results(clone: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text().strip() for path in (clone / "work_dirs").glob("*/metrics.json")}


def test_the_steps_and_their_options(clone: Path) -> None:
    assert quickstart(clone, "--epochs", "2", "--config", "some.py") == 0
    calls = [line for line in (clone / "notes").read_text().splitlines() if not line.startswith(("-c", "-m pip"))]
    assert [call.split()[0] for call in calls] == [
        "-m",
        "scripts/train.py",
        "scripts/test.py",
        "scripts/predict.py",
        "scripts/report.py",
        "-m",
    ]
    assert calls[1].startswith("scripts/train.py some.py ")
    assert calls[1].endswith("--epochs 2")
    assert "best_epoch.pth data/digits/test --ann data/digits/annotations/test.json" in calls[3]
    assert calls[4].endswith("--out work_dirs/.quickstart-unfinished/report.html")
    assert calls[5].endswith("summary work_dirs/quickstart")


def test_an_earlier_result_is_moved_aside(clone: Path) -> None:
    assert quickstart(clone, result="first") == 0
    assert results(clone) == {"quickstart": "first"}
    assert quickstart(clone, result="second") == 0
    assert results(clone).pop("quickstart") == "second"
    assert sorted(results(clone).values()) == ["first", "second"]


@pytest.mark.parametrize("step", ["train.py", "test.py", "predict.py", "report.py"])
def test_a_failure_keeps_the_earlier_result(clone: Path, step: str) -> None:
    assert quickstart(clone, result="first") == 0
    assert quickstart(clone, result="second", fail_at=step) != 0
    assert (clone / "work_dirs" / "quickstart" / "metrics.json").read_text() == "first\n"
    assert quickstart(clone, result="third") == 0
    assert results(clone)["quickstart"] == "third"


def test_unknown_options(clone: Path) -> None:
    assert quickstart(clone, "--epoch", "3") == 2
    assert not (clone / "work_dirs").exists()
