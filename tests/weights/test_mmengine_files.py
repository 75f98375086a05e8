"""What mmengine saves beside weights is read; nothing else becomes possible by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint


def save(path: Path, content: object) -> str:
    torch.save(content, path)
    return str(path)


class Getattr:
    """Pickled as a call of getattr on HistoryBuffer, but for another attribute than the statistics."""

    def __reduce__(self) -> tuple:
        return getattr, (HistoryBuffer, "__init__")


def test_getattr_serves_the_statistics_of_histories_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is refused"):
        read_checkpoint(save(tmp_path / "getattr.pth", Getattr()))


def test_what_mmengine_saves_is_read(tmp_path: Path) -> None:
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = {
        "state_dict": {"weight": torch.ones(2)},
        "message_hub": {"log_scalars": {"loss": history}, "runtime_info": {"best_score": np.float64(0.5)}},
        "meta": {"seed": np.int64(3), "epoch": 2},
    }
    read = read_checkpoint(save(tmp_path / "saved.pth", content))
    assert read["message_hub"]["log_scalars"]["loss"].mean() == 1.5
    assert read["message_hub"]["runtime_info"]["best_score"] == 0.5
    assert read["meta"]["seed"] == 3
