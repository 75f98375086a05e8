"""The map itself: its dtypes, its order, and what a file may say of it."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brs_detr.data.calibration import KEY, Calibration
from brs_detr.errors import CheckpointError
from brs_detr.weights import read_checkpoint

MAP = Calibration((0.0, 0.02, 0.1, 1.0), (0.0, 0.1, 0.9, 1.0), 0.4)


def test_it_keeps_shape_dtype_and_order() -> None:
    scores = np.linspace(0, 1, 10_001, dtype=np.float32)
    mapped = MAP(scores)
    assert mapped.dtype == np.float32
    assert (np.diff(mapped) > 0).all()
    assert MAP(np.array([0.01, 0.06, 0.55])) == pytest.approx([0.05, 0.5, 0.95])
    assert torch.equal(MAP(torch.from_numpy(scores)[None]), torch.from_numpy(mapped)[None])
    assert MAP(torch.rand(3, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert MAP(torch.rand(0)).shape == (0,)
    assert MAP(torch.tensor(0.02)).item() == pytest.approx(0.1)


def test_a_file_brings_it_back(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, KEY: MAP.as_dict()}, tmp_path / "a.pth")
    assert Calibration.of(torch.load(tmp_path / "a.pth", weights_only=True)) == MAP
    assert Calibration.of(read_checkpoint(tmp_path / "a.pth")) == MAP
    assert Calibration.of({}) is None


HOSTILE: list[tuple[Any, str]] = [
    (dict(scores=[0.0, 0.5, 0.5, 1.0]), "its scores do not increase"),
    (dict(calibrated=[0.0, 0.9, 0.1, 1.0]), "its calibrated scores do not increase"),
    (dict(calibrated=[0.0, 0.5, 0.5 + 1e-12, 1.0]), "its calibrated scores do not increase"),  # in float32
    (dict(scores=[0.0, math.nan, 0.1, 1.0]), "its scores are not all numbers from 0 to 1"),
    (dict(scores=[0.0, 0.1, 0.2, math.inf]), "its scores are not all numbers from 0 to 1"),
    (dict(scores=[-0.1, 0.1, 0.2, 1.0]), "its scores are not all numbers from 0 to 1"),
    (dict(scores=[0.0, 0.1, 0.2, 10**400]), "its scores are not all numbers from 0 to 1"),
    (dict(scores=["0", "0.1", "0.2", "1"]), "its scores are not all numbers from 0 to 1"),
    (dict(scores=[False, 0.1, 0.2, True]), "its scores are not all numbers from 0 to 1"),
    (dict(scores=torch.linspace(0, 1, 4)), "it is no map of scores"),
    (dict(scores={0: 1, 0.3: 1, 0.6: 1, 1: 1}), "it is no map of scores"),
    (dict(scores="0123"), "it is no map of scores"),
    (dict(scores=[0.0, [0.1], 0.2, 1.0]), "its scores are not all numbers from 0 to 1"),
    (dict(scores=[0.0, 1.0]), "2 scores are mapped to 4"),
    (dict(scores=[]), "it has 0 scores, where 2 to 10000 are possible"),
    (dict(scores=[0.0] * 100_000), "it has 100000 scores, where 2 to 10000 are possible"),
    (dict(scores=None), "it is no map of scores"),
    (dict(scores=torch.tensor(1.0)), "it is no map of scores"),
    (dict(threshold=math.nan), "the threshold is no number from 0 to 1"),
    (dict(threshold="0.5"), "the threshold is no number from 0 to 1"),
    (dict(threshold=torch.rand(3)), "the threshold is no number from 0 to 1"),
    ([1, 2], "it is no map of scores"),
    ("a map", "it is no map of scores"),
    ({"scores": [0.0, 1.0], "_": None}, "2 scores are mapped to 4"),
]


@pytest.mark.parametrize(("kept", "sentence"), HOSTILE)
def test_what_is_no_map_is_refused(tmp_path: Path, kept: Any, sentence: str) -> None:
    if isinstance(kept, dict):
        kept = MAP.as_dict() | kept
    path = tmp_path / "hostile.pth"
    torch.save({"state_dict": {"a": torch.zeros(1)}, KEY: kept}, path)
    message = f"The calibration in the checkpoint {path} is refused: {sentence}. Make it anew with "
    with pytest.raises(CheckpointError, match=re.escape(message)):
        Calibration.of(read_checkpoint(path), path)


def test_a_map_without_a_threshold_is_refused() -> None:
    with pytest.raises(CheckpointError, match="it is no map of scores"):
        Calibration.of({KEY: {"scores": [0.0, 1.0], "calibrated": [0.0, 1.0]}})
