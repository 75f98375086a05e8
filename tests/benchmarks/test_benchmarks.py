"""The benchmarks run, and what they record can be read again."""

from pathlib import Path

import pytest
from mmengine.config import Config

from benchmarks import digits_results, parts
from benchmarks.digits_configs import FAMILIES, Run, write_config
from benchmarks.figure import exponent
from benchmarks.racing import race
from benchmarks.report import environment, size

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


def test_deviation_is_that_of_the_bucketed_method_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "DEVIATION_SIZES", ((5, 40), (20, 500)))
    table = parts.deviation(parts.Setting("cpu", 1000, environment("cpu"), tmp_path))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[4:]]
    assert len(rows) == 6
    for _, _, method, *deviations in rows:
        assert (max(map(float, deviations)) < 1e-5) == (method != "bucketed")


def test_growth_is_recorded_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "DOUBLED_POSITIVES", [8, 16])
    monkeypatch.setattr(parts, "DOUBLED_NEGATIVES", [1000, 2000])
    monkeypatch.setattr(parts, "race", lambda runs, device: race(runs, device, seconds=0.01))
    table = parts.growth(parts.Setting("cpu", 2000, environment("cpu"), tmp_path))
    assert "N doubled" in table
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 1 + 4 * 3
    assert next(tmp_path.glob("growth_cpu_*.png")).stat().st_size > 10_000


def test_exponents_and_sizes() -> None:
    assert exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2)
    assert [size(n) for n in (3, 1000, 65_536, 7_000_000)] == ["3", "1k", "64k", "7M"]
