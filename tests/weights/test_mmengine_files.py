"""What mmengine saves beside weights is read; nothing else becomes possible by it."""

import argparse
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint
from brs_detr.weights.stand_ins import TABLE
from brs_detr.weights.unpickling import StandIn
from tests.weights.crafted import archive


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


CONTENT = {
    "message_hub": {"loss": HistoryBuffer([1.0, 2.5], [1, 2]), "best": np.float64(0.5), "flag": np.bool_(True)},
    "arrays": [np.arange(6).reshape(2, 3), np.asfortranarray(np.ones((2, 3), np.float32)), np.zeros(0)],
    "schedule": Counter([8, 11, 11]),
    "arguments": argparse.Namespace(lr=0.1, shape=np.ones(2), nested={"a": (1, [2.0, None])}),
    "odd": {"bytes": bytes(range(256)), "set": {1, "a"}, "size": torch.Size([1, 2]), "kind": torch.float16, 3: True},
    "device": torch.device("cpu"),
    "long": -(2**70),
    "text": "naïve \U0001f600",
    "parameter": torch.nn.Parameter(torch.ones(3)),
    "module": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).state_dict(),
    "kinds": [torch.arange(3).to(kind) for kind in set(TABLE.values()) if isinstance(kind, torch.dtype)],
    "view": torch.arange(12.0).reshape(3, 4).t()[1:, ::2],
    "scalar": torch.tensor(3),
    "empty": torch.zeros(0, 5),
}


def equal(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, (torch.Tensor, np.ndarray)):
        same = first.dtype == second.dtype and first.shape == second.shape
        return (
            same
            and bool((first == second).all())
            and getattr(first, "requires_grad", 0) == getattr(second, "requires_grad", 0)
        )
    if isinstance(first, dict):
        attributes = vars(first) == vars(second) if isinstance(first, OrderedDict) else True
        return attributes and [*first] == [*second] and equal([*first.values()], [*second.values()])
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, (HistoryBuffer, argparse.Namespace)):
        return equal({**vars(first), "statistics_methods": 0}, {**vars(second), "statistics_methods": 0})
    return bool(first == second)


def stand_ins(value: Any) -> list[Any]:
    """What of the reader's own classes a content holds."""
    if isinstance(value, (dict, list, tuple, set)):
        inner = value.values() if isinstance(value, dict) else value
        return [found for item in inner for found in stand_ins(item)]
    return [value] if isinstance(value, StandIn) or "brs_detr" in type(value).__module__ else []


@pytest.mark.parametrize("numpy_1", [False, True])
@pytest.mark.parametrize("new_layout", [True, False])
def test_what_trainings_save_is_read_and_saved_again(tmp_path: Path, new_layout: bool, numpy_1: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save(CONTENT, path, _use_new_zipfile_serialization=new_layout)
    if numpy_1 and new_layout:
        with zipfile.ZipFile(path) as file:
            members = {member.partition("/")[2]: file.read(member) for member in file.namelist()}
        old = members.pop("data.pkl").replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        archive(path, old, members)
    for attempt in range(2):
        read = read_checkpoint(path)
        assert [key for key in CONTENT if not equal(read[key], CONTENT[key])] == []
        assert not stand_ins(read)
        assert vars(read["module"])["_metadata"] == CONTENT["module"]._metadata
        path = tmp_path / f"again{attempt}.pth"  # what was read is the file itself, mapped into memory
        torch.save(read, path)


def test_shared_storages_stay_shared(tmp_path: Path) -> None:
    weight = torch.zeros(4)
    torch.save({"a": weight, "b": weight[:2], "c": weight}, tmp_path / "weights.pth")
    read = read_checkpoint(tmp_path / "weights.pth")
    read["a"][0] = 1
    assert read["b"][0] == read["c"][0] == 1
