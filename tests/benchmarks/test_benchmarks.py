"""The benchmarks run, and what they record can be read again."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from benchmarks import digits_results, losses
from benchmarks.digits_configs import FAMILIES, Run, set_method, write_config
from benchmarks.report import exponent, size
from brs_detr.timing.measuring import Effort, Times
from brs_detr.timing.report import environment

RESULTS = Path(losses.__file__).parent / "results"
RUNS = [Run(family, variant, 0, 2) for family, variants in FAMILIES.items() for variant in variants]


def ranking_methods(part: object) -> set[str]:
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
    found = {m for child in children for m in ranking_methods(child)}
    return found | {part["method"]} if isinstance(part, dict) and part.get("type") == "RankSortLoss" else found


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_configs_of_the_study(run: Run, tmp_path: Path) -> None:
    config = Config.fromfile(write_config(run, tmp_path))
    assert config.train_cfg.val_interval == 2
    method = run.variant.split(",")[0]
    assert ranking_methods(config.model) == ({method} if method in ("pairwise", "bucketed", "exact") else set())


def test_results_of_the_study_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "digits.csv"
    for seed, ap in enumerate((0.25, 0.35)):
        digits_results.append(
            path, Run("atss", "exact", seed, 4), {"AP": ap, "AP50": 0.5, "seconds": 0.1, "loss_ms": 2}
        )
    assert digits_results.finished(path) == {Run("atss", "exact", seed, 4) for seed in range(2)}
    assert "0.300 ± 0.071" in digits_results.table(path)
    assert digits_results.table(path).startswith("By `python -m benchmarks.digits --epochs 4`; 2 results of ")


def test_the_recorded_study_can_be_extended_and_its_table_written_again(tmp_path: Path) -> None:
    path = Path(shutil.copy(RESULTS / "digits.csv", tmp_path))
    assert digits_results.table(path) + "\n" == (RESULTS / "digits.md").read_text()
    before = path.read_text()
    digits_results.append(path, Run("atss", "exact", 9, 4), {"AP": 0.5, "AP50": 0.5, "seconds": 0.1, "loss_ms": 2})
    *kept, added = path.read_text().splitlines()
    assert kept == before.splitlines()
    assert added.startswith("atss,exact,9,4,0.5,0.5,,0.1,2,")
    assert len(added.split(",")) == len(kept[0].split(","))


def test_methods_are_set_for_any_ranking_loss() -> None:
    heads = [dict(loss_cls=dict(type=kind)) for kind in ("RankSortLoss", "APLoss", "FocalLoss", "Unknown")]
    set_method(dict(heads=heads), "bucketed")
    assert [head["loss_cls"].get("method") for head in heads] == ["bucketed", "bucketed", None, None]


def setting(results: Path, largest: int) -> losses.Setting:
    device = torch.device("cpu")
    return losses.Setting(device, largest, environment(device), results)


def test_recorded_times_can_be_extended(tmp_path: Path) -> None:
    path = Path(shutil.copy(RESULTS / "losses.csv", tmp_path))
    before = path.read_text()
    setting(tmp_path, 1000).record("grid", 3, 1000, {"exact": Times(1.23456, 1.0, 2.0, 15)})
    assert path.read_text().startswith(before)
    assert path.read_text().endswith(",grid,3,1000,exact,1.235,1,2,15\n")


def test_deviation_is_that_of_the_bucketed_method_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "DEVIATION_SIZES", ((5, 40), (20, 500)))
    table = losses.deviation(setting(tmp_path, 1000))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[4:]]
    assert len(rows) == 6
    for _, _, method, *deviations in rows:
        assert (max(map(float, deviations)) < 1e-5) == (method != "bucketed")


def test_growth_is_recorded_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "DOUBLED_POSITIVES", [8, 16])
    monkeypatch.setattr(losses, "DOUBLED_NEGATIVES", [1000, 2000])
    monkeypatch.setattr(losses, "EFFORT", Effort(3, 0.01))
    table = losses.growth(setting(tmp_path, 2000))
    assert "N doubled" in table
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 1 + 4 * 3
    assert next(tmp_path.glob("growth_cpu_*.png")).stat().st_size > 10_000


def test_exponents_and_sizes() -> None:
    assert exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2)
    assert [size(n) for n in (3, 1000, 65_536, 7_000_000)] == ["3", "1k", "64k", "7M"]
