"""Shares, totals, and the forms in which they are given: table, CSV, JSON, chart."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from brs_detr.errors import InputError
from brs_detr.timing.display import bar_label, milliseconds_by_head, plot_report, print_report
from brs_detr.timing.report import COLUMNS, TOTAL, Report, append_csv, check_csv, has_columns, write_csv, write_json
from tests.reference import ROOT
from tests.timing.examples import report, row


def totals(of: Report) -> dict[tuple[str, str], float]:
    return {(r.config, r.method): r.milliseconds for r in of.with_totals() if r.head == TOTAL}


def test_totals_are_what_training_pays() -> None:
    assert totals(report()) == {
        ("configs/a.py", "exact"): 6.0,  # forward 1 + 3, backward 1 + 1
        ("configs/a.py", "pairwise"): 300.0,
        ("configs/b.py", "as configured"): 5.0,
    }


def test_a_head_that_does_not_rank_is_in_every_total() -> None:
    mixed = report()
    mixed.rows.append(row("c", "CrossEntropyLoss", 9.0))
    assert totals(mixed)["configs/a.py", "exact"] == 16.0
    assert totals(mixed)["configs/a.py", "pairwise"] == 310.0


def test_shares() -> None:
    shares = {(r.config, r.head, r.method, r.called): r.share for r in report().with_totals()}
    assert shares["configs/a.py", "b", "exact", True] == pytest.approx(4 / 6)  # of the losses
    assert shares["configs/a.py", TOTAL, "pairwise", False] == 1
    assert shares["configs/b.py", TOTAL, "as configured", False] == pytest.approx(5 / (5 + 5))  # of the iteration


def test_an_unfinished_config_has_no_totals() -> None:
    unfinished = replace(report(), outside={"configs/a.py": None}, interrupted=True)
    assert {config for config, _ in totals(unfinished)} == {"configs/a.py"}
    assert unfinished.with_totals()[-1].share is None


def test_csv_grows(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    for _ in range(2):
        check_csv(path)
        write_csv(path, report())
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(report().with_totals()) == 18
    assert rows[0]["device"] == "CPU"
    assert (rows[1]["head"], rows[1]["method"], rows[1]["positives"]) == ("a", "exact", "3")
    assert float(rows[1]["forward_ms_p80"]) == 2 * float(rows[1]["forward_ms"]) == 2.0


def test_another_csv_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_text("name,age\n")
    with pytest.raises(InputError, match="give --csv another file"):
        check_csv(path)


def test_recorded_times_can_be_extended(tmp_path: Path) -> None:
    recorded = ROOT / "benchmarks" / "results" / "time_loss.csv"
    check_csv(recorded)
    assert set(COLUMNS) >= report().rows[0].as_dict().keys()
    with pytest.raises(InputError, match="other columns"):
        append_csv(recorded, ("name", "age"), [{"name": "a", "age": 1}])


def test_csv_leaves_out_what_has_no_column(tmp_path: Path) -> None:
    path, columns = tmp_path / "a" / "b.csv", ("name", "age")
    append_csv(path, columns, [])
    assert not path.exists()
    append_csv(path, columns, [{"name": "x, y", "age": 3, "height": 2}])
    append_csv(path, columns, [{"age": 4, "name": "z"}])
    assert has_columns(path, columns)
    assert path.read_text() == 'name,age\n"x, y",3\nz,4\n'


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "times.json", report())
    content = json.loads((tmp_path / "times.json").read_text())
    assert content["complete"]
    assert content["seconds_outside_the_losses"] == {"configs/a.py": None, "configs/b.py": 0.005}
    assert [r["forward_ms"] for r in content["rows"][:3]] == [50, 1, 99]


def test_bars() -> None:
    rows = [r for r in report().with_totals() if r.config == "configs/a.py"]
    assert milliseconds_by_head(rows) == {
        "a": {"exact": 2.0, "pairwise": 100.0},
        "b": {"exact": 4.0, "pairwise": 200.0},
        TOTAL: {"exact": 6.0, "pairwise": 300.0},
    }


def test_labels_of_bars_are_no_powers() -> None:
    assert [bar_label(time) for time in (0.123, 9.96, 12.3, 99.8, 1643.9)] == ["0.12", "10", "12", "100", "1,644"]


def test_the_chart_is_drawn(tmp_path: Path) -> None:
    plot_report(tmp_path / "times.png", report())
    picture = cv2.imread(str(tmp_path / "times.png"))
    assert picture.shape[1] > picture.shape[0] > 400
    assert picture.std() > 10


def test_the_table(capsys: pytest.CaptureFixture) -> None:
    print_report(report())
    printed = capsys.readouterr().out
    assert "device CPU, threads 1" in printed
    assert "199.0 (99.5 to 398.0)" in printed
    assert "share: of the losses' time" in printed
    assert "share: of the iteration (0.005 s outside the losses)" in " ".join(printed.split())
    assert "Interrupted" not in printed
    print_report(replace(report(), interrupted=True))
    assert "Interrupted" in capsys.readouterr().out
