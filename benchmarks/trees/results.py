"""Results of the trainings on trees: a line of a CSV for each run and split, the rate of each loss, and the table."""

from pathlib import Path

from benchmarks.digits_results import METRICS, Rows, load, spread
from benchmarks.paired import HEADER as INTERVAL
from benchmarks.paired import gain
from benchmarks.report import markdown, origin
from benchmarks.trainings import where
from brs_detr.timing.report import append_csv

from .configs import EPOCHS, FAMILIES, RATES, Run

SCORES = (METRICS["coco/bbox_mAP"], METRICS["coco/bbox_mAP_50"])
BASELINE = "baseline"
COMMAND = "python -m benchmarks.trees --train [--epochs EPOCHS]"
COLUMNS = (*Run._fields, "split", *SCORES, "seconds", "loss_ms", "device", "torch")


def append(path: Path, run: Run, split: str, result: dict[str, float]) -> None:
    rounded = {key: f"{value:.4g}" for key, value in result.items()}
    append_csv(path, COLUMNS, [run._asdict() | {"split": split} | rounded | where()])


def of_run(row: dict[str, str]) -> Run:
    return Run(row["family"], row["variant"], float(row["rate"]), int(row["seed"]), int(row["epochs"]))


def finished(path: Path, split: str) -> dict[Run, dict[str, str]]:
    """The rows of a split."""
    return {of_run(row): row for row in load(path) if row["split"] == split}


def best_rate(path: Path, family: str, variant: str, epochs: int) -> float | None:
    """The rate with the highest validation AP of seed 0, the lowest of several.

    None while a rate has no result, or where all diverged, which leaves AP empty.
    """
    done = finished(path, "val")
    runs = [Run(family, variant, rate, 0, epochs) for rate in RATES]
    scores = {run.rate: float(done[run]["AP"]) for run in runs if run in done and done[run]["AP"]}
    if not scores or any(run not in done for run in runs):
        return None
    return max(scores, key=lambda rate: (scores[rate], -rate))


def table(path: Path) -> str:
    """Test AP of each detector and loss at its own rate, over the seeds; then validation AP of each rate, seed 0."""
    return "\n\n".join([origin(COMMAND, load(path)), _test(path), _rates(path)])


def _test(path: Path) -> str:
    rows = []
    tested: dict[tuple[str, str, int], Rows] = {}
    for family, variant, epochs in groups(path):
        rate = best_rate(path, family, variant, epochs)
        found = tested[family, variant, epochs] = select(finished(path, "test"), family, variant, rate, epochs)
        trained = select(finished(path, "val"), family, variant, rate, epochs)
        gained = "-" if variant == BASELINE else gain(found, tested.get((family, BASELINE, epochs), []), "AP")
        scores = [*(spread(found, name) for name in SCORES), gained, spread(trained, "AP")]
        rows.append([family, variant, str(epochs), f"{rate:g}" if rate else "-", str(len(found)), *scores])
    header = ["epochs", "rate", "seeds", "test AP", "test AP50", f"AP gained, {INTERVAL}", "val AP"]
    return markdown(["detector", "loss", *header], rows)


def _rates(path: Path) -> str:
    done = finished(path, "val")
    rows = []
    for family, variant, epochs in groups(path):
        each = [select(done, family, variant, rate, epochs, seed=0) for rate in RATES]
        rows.append([family, variant, str(epochs), *(spread(found, "AP") for found in each)])
    return markdown(["val AP by rate, seed 0", "loss", "epochs", *(f"{rate:g}" for rate in RATES)], rows)


def groups(path: Path) -> list[tuple[str, str, int]]:
    """Family, variant and epochs of what has results, in the order of the study."""
    known = {(run.family, run.variant, run.epochs) for run in finished(path, "val")}
    order = [(family, variant) for family in FAMILIES for variant in FAMILIES[family]]
    return sorted(known, key=lambda each: (order.index(each[:2]), each[2] != EPOCHS[each[0]], each[2]))


def select(
    done: dict[Run, dict[str, str]], family: str, variant: str, rate: float | None, epochs: int, seed: int | None = None
) -> Rows:
    """The rows of these runs, of any seed if None."""
    wanted = (family, variant, rate, epochs)
    return [
        row
        for run, row in done.items()
        if (run.family, run.variant, run.rate, run.epochs) == wanted and seed in (None, run.seed)
    ]
