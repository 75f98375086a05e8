"""Files that are no checkpoint, or not of this model, are told apart; mmengine's own are read."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

import brs_detr.engine  # noqa: F401  (registers what mmengine's checkpoints contain)
from brs_detr.engine import checkpoints
from brs_detr.errors import InputError


class Model(nn.Module):
    def __init__(self, classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Linear(2, width)
        self.fc_cls = nn.Linear(width, classes)


class CallsSystem:
    def __reduce__(self) -> tuple:
        return os.system, ("touch executed",)


def save(path: Path, content: object) -> str:
    torch.save(content, path)
    return str(path)


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    whole = Path(save(tmp_path / "whole.pth", {"state_dict": Model().state_dict()})).read_bytes()
    files = {
        "empty.pth": (b"", "is empty"),
        "truncated.pth": (whole[: len(whole) // 2], "is truncated"),
        "text.pth": (b"just a text", "is not a PyTorch checkpoint|is damaged"),
        "damaged.pth": (whole[:-200] + bytes(150) + whole[-50:], "is damaged|is truncated"),
    }
    for name, (content, sentence) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} ({sentence})"):
            checkpoints.read(str(tmp_path / name))
    with pytest.raises(InputError, match=r"nowhere\.pth does not exist"):
        checkpoints.read(str(tmp_path / "nowhere.pth"))
    with pytest.raises(InputError, match="is a folder"):
        checkpoints.read(str(tmp_path))


def test_files_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no weights"):
        checkpoints.read(save(tmp_path / "list.pth", [1, 2]))
    path = save(tmp_path / "meta.pth", {"meta": {"epoch": 1}})
    with pytest.raises(InputError, match="holds no weights"):
        checkpoints.load_weights(Model(), checkpoints.read(path), path, new_classes=True)


@pytest.mark.parametrize("content", [CallsSystem(), [getattr, Model], {"x": (eval, "1")}])
def test_a_file_with_code_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "code.pth", {"state_dict": {}, "extra": content})
    with pytest.raises(InputError, match="holds code, not only weights: it is refused"):
        checkpoints.read(path)
    assert not (tmp_path / "executed").exists()


class Getattr:
    """Pickled as a call of getattr on HistoryBuffer, but for another attribute than the statistics."""

    def __reduce__(self) -> tuple:
        return getattr, (HistoryBuffer, "__init__")


def test_getattr_serves_the_statistics_of_histories_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds code"):
        checkpoints.read(save(tmp_path / "getattr.pth", Getattr()))


def test_what_mmengine_saves_is_read(tmp_path: Path) -> None:
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = {
        "state_dict": Model().state_dict(),
        "message_hub": {"log_scalars": {"loss": history}, "runtime_info": {"best_score": np.float64(0.5)}},
        "meta": {"seed": np.int64(3), "epoch": 2},
    }
    read = checkpoints.read(save(tmp_path / "saved.pth", content))
    assert read["message_hub"]["log_scalars"]["loss"].mean() == 1.5
    assert read["message_hub"]["runtime_info"]["best_score"] == 0.5
    assert read["meta"]["seed"] == 3


def test_weights_of_a_data_parallel_model_fit(tmp_path: Path) -> None:
    model = Model()
    path = save(tmp_path / "parallel.pth", {f"module.{k}": v for k, v in Model().state_dict().items()})
    fit = checkpoints.load_weights(model, checkpoints.read(path), path, new_classes=False)
    assert len(fit.loaded) == 4
    torch.testing.assert_close(model.body.weight, torch.load(path)["module.body.weight"])


def test_another_architecture_changes_nothing() -> None:
    model, other = Model(), Model(width=5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        InputError,
        match=r"file\.pth is of another architecture .* 1 tensors fit, 0 are missing, 0 unexpected, 3 of",
    ):
        checkpoints.load_weights(model, other.state_dict(), "file.pth", new_classes=True)
    with pytest.raises(InputError, match=r"0 tensors fit, 4 are missing, 2 unexpected"):
        checkpoints.load_weights(model, nn.Linear(2, 2).state_dict(), "file.pth", new_classes=True)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_another_number_of_classes() -> None:
    model, other = Model(classes=3), Model(classes=7)
    initial = model.fc_cls.weight.clone()
    with pytest.raises(InputError, match=r"another number of classes .*fc_cls\.weight"):
        checkpoints.load_weights(model, other.state_dict(), "file.pth", new_classes=False)
    fit = checkpoints.load_weights(model, other.state_dict(), "file.pth", new_classes=True)
    assert fit.reshaped == ["fc_cls.weight", "fc_cls.bias"]
    torch.testing.assert_close(model.body.weight, other.body.weight)
    torch.testing.assert_close(model.fc_cls.weight, initial)


def test_the_last_whole_checkpoint(tmp_path: Path) -> None:
    assert checkpoints.latest(tmp_path) is None
    for epoch in (1, 2):
        path = save(tmp_path / f"epoch_{epoch}.pth", {"epoch": epoch})
        os.utime(path, (epoch, epoch))
    assert checkpoints.latest(tmp_path) == tmp_path / "epoch_2.pth"
    (tmp_path / "last_checkpoint").write_text("/where/it/was/before/epoch_1.pth")
    assert checkpoints.latest(tmp_path) == tmp_path / "epoch_1.pth"
    (tmp_path / "last_checkpoint").write_text("")
    assert checkpoints.latest(tmp_path) == tmp_path / "epoch_2.pth"
    (tmp_path / "last_checkpoint").write_text("epoch_2.pth")
    (tmp_path / "epoch_2.pth").write_bytes((tmp_path / "epoch_2.pth").read_bytes()[:-30])
    assert not zipfile.is_zipfile(tmp_path / "epoch_2.pth")
    assert checkpoints.latest(tmp_path) == tmp_path / "epoch_1.pth"


def test_pickle_is_what_it_guards_against(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same object does run code in the ordinary unpickler: the tests above test something."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(CallsSystem()))
    assert (tmp_path / "executed").exists()
