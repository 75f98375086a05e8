"""The script as users run it: table, files, chart, and one sentence where something cannot be timed."""

import csv
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from brs_detr.timing import run as timing
from tests.scripts.processes import ROOT, run

CONFIGS = [
    ROOT / "configs" / name
    for name in ("brs_detr/brs-detr_tiny_digits.py", "co_detr/co-deformable-detr_tiny_digits.py")
]
SMALL = ("--images", 2, "--image-size", 96, 128)


def test_two_configs_side_by_side(tmp_path: Path) -> None:
    files = ("--csv", "times.csv", "--json", "times.json", "--plot", "times.png")
    result = run(tmp_path, "time_loss.py", *CONFIGS, *SMALL, "--repeats", 3, "--threads", 1, "--seed", 7, *files)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    for word in ("threads 1", "torch 2", "mmdet 3", "seed 7", "encoder proposals", "all configs", "as configured"):
        assert word in result.stdout
    for method in ("exact", "bucketed", "pairwise", "focal"):
        assert len(re.findall(rf"\b{method}\b", result.stdout)) > 10
    with (tmp_path / "times.csv").open() as file:
        lines = list(csv.DictReader(file))
    rows = json.loads((tmp_path / "times.json").read_text())["rows"]
    assert [line["layer"] for line in lines] == [row["layer"] for row in rows]
    assert all(float(line["forward_ms"]) > 0 for line in lines)
    assert {line["seed"] for line in lines} == {"7"}
    assert cv2.imread(str(tmp_path / "times.png")).std() > 10


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Runs the script's `main` in this process, in an empty folder, and returns its exit status."""
    spec = importlib.util.spec_from_file_location("time_loss", ROOT / "scripts" / "time_loss.py")
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(script)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["time_loss.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            script.main()
        return ended.value.code

    return call


def test_errors_are_a_sentence(main: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    assert main(CONFIGS[0], "missing.py") == 2
    output = capsys.readouterr()
    assert output.err == "error: The config missing.py does not exist.\n"
    assert not output.out


def test_an_interruption_saves_what_was_measured(
    main: Callable[..., int], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, cells = timing.measure, iter(range(5))

    def interrupted(*arguments: object) -> object:
        if next(cells, None) is None:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(timing, "measure", interrupted)
    assert main(CONFIGS[0], *SMALL, "--repeats", 3, "--json", "times.json", "--plot", "times.png") == 130
    assert "Interrupted" in capsys.readouterr().out
    content = json.loads(Path("times.json").read_text())
    assert not content["complete"]
    assert len(content["rows"]) == 5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--csv", "."), ". is a folder: give the name of a file."),
        (("--json", "file/times.json"), "file/times.json cannot be written, for"),
        (("--plot", "."), ". is a folder"),
        (("--csv", "times", "--json", "times"), "--csv, --json and --plot need a file each, not times, times."),
        (("--threads", 10**9), "--threads 1000000000: this machine runs"),
        (("--threads", 0), "--threads needs at least 1."),
        (("--delta", "nan"), "--delta needs at least 0."),
        (("--seconds", "nan"), "--seconds needs at least 0."),
    ],
)
def test_options_are_checked_before_any_work(
    main: Callable[..., int], capsys: pytest.CaptureFixture, options: tuple, sentence: str
) -> None:
    Path("file").write_text("")
    assert main("missing.py", *options) == 2  # a config is not even read
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
