"""The losses against recorded outputs of the released code, where that is valid."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from .problems import DEFINING, alrp, assert_agree, average_precision, rank_sort

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "reference"
pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="the recorded outputs of the released code (../shared/reference) are not here"
)
DELTAS = ["0.0", "0.5", "1.0"]
TIED = {
    "tied_logits_quarter",
    "edge_on_threshold",
}  # the released buckets let a positive win against its ties


def records(loss: str) -> list[tuple[str, float, torch.Tensor, list[float], np.ndarray]]:
    """Logits, targets, values and gradient of every case on which the released loss neither raised nor was
    NaN."""
    found, arrays = json.loads((FOLDER / "loss_cases.json").read_text()), np.load(FOLDER / "loss_cases.npz")
    result = []
    for case, description in found.items():
        for delta in DELTAS:
            key, record = f"{case}__{loss}_d{delta}", description["results"][f"{loss}_d{delta}"]
            if f"{key}__grad" in arrays and not record["nan"] and not record["grad_nan"]:
                binary = "__targets_bin" if "AP" in loss else "__targets"
                logits, targets = (torch.from_numpy(arrays[case + part]) for part in ("__logits", binary))
                result.append((case, float(delta), logits, targets, record["out"], arrays[f"{key}__grad"]))
    assert len(result) > 20
    return result


@pytest.mark.parametrize("method", DEFINING)
def test_rank_sort(method: str) -> None:
    for _, delta, logits, targets, values, gradient in records("RankSort"):
        ranking, sorting, of_ranking, of_sorting = rank_sort(logits, targets, delta=delta, method=method)
        assert_agree((ranking, sorting, of_ranking + of_sorting), (*values, gradient), 2e-6)


@pytest.mark.parametrize("method", DEFINING)
def test_interpolated_ap(method: str) -> None:
    for _, delta, logits, targets, values, gradient in records("APLoss"):
        ours = average_precision(logits, targets, delta=delta, method=method, interpolated=True)
        assert_agree(ours, (*values, gradient), 2e-6)


def test_bucketed_rank_sort() -> None:
    for case, delta, logits, targets, values, gradient in records("BucketedRankSort"):
        if case not in TIED:
            ranking, sorting, of_ranking, of_sorting = rank_sort(logits, targets, delta=delta, method="bucketed")
            assert_agree((ranking, sorting, of_ranking + of_sorting), (*values, gradient), 2e-6)


def test_bucketed_ap_as_released() -> None:
    """It counts the positive itself as 1/2 and does not interpolate."""
    settings = dict(method="bucketed", interpolated=False, half_of_itself=True)
    for case, delta, logits, targets, values, gradient in records("BucketedAPLoss"):
        if case not in TIED:
            ours = average_precision(logits, targets, delta=delta, **settings)
            assert_agree(ours, (*values, gradient), 2e-6)


@pytest.mark.parametrize("method", DEFINING)
def test_alrp(method: str) -> None:
    """The recorded loss is 1 - mean precision, its gradient that of the whole LRP error; with the recorded ranks
    the localisation term follows from its definition."""
    arrays = np.load(FOLDER / "alrp_cases.npz")
    for case in range(8):
        logits, targets, localisation, delta, loss, rank, gradient = (
            arrays[f"case{case}__{part}"]
            for part in ("logits", "targets", "localisation", "delta", "loss", "rank", "grad")
        )
        errors = np.zeros_like(logits)
        errors[targets > 0] = localisation
        problem = (torch.from_numpy(values) for values in (logits, targets, errors))
        ours, localised, of_logits, of_errors = alrp(*problem, delta=float(delta), method=method)
        assert_agree((ours, of_logits), (loss, gradient), 1e-5)
        x = logits[targets > 0]
        at_or_above = x[None, :] >= x[:, None]  # (i, k)
        assert_agree((localised,), ((at_or_above @ localisation / rank).mean(),), 1e-5)
        of_positives = (at_or_above / rank[:, None]).sum(0) / len(rank)
        assert_agree((of_errors[targets > 0],), (of_positives,), 1e-5)
