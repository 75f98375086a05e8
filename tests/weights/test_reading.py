"""Files that cannot be read are told apart, and none of them runs anything."""

import argparse
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from brs_detr.weights import CheckpointError, read_checkpoint

WEIGHTS = {"conv.weight": torch.arange(1000.0), "conv.bias": torch.ones(3)}


def save(path, content=WEIGHTS, *, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("legacy", [False, True])
def test_reads_what_torch_saved(tmp_path, legacy):
    read = read_checkpoint(save(tmp_path / "weights.pth", legacy=legacy))
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_reads_safetensors_whatever_the_suffix(tmp_path, name):
    save_file(WEIGHTS, tmp_path / name)
    read = read_checkpoint(str(tmp_path / name))
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


def test_missing_empty_and_folder(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.pth")
    assert "is no file" in refusal(Path("/dev/zero"))
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "empty.pth").touch()
    assert "is empty" in refusal(tmp_path / "empty.pth")


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated(tmp_path, kind, kept):
    path = tmp_path / "weights"
    if kind == "safetensors":
        save_file(WEIGHTS, path)
    else:
        save(path, legacy=kind == "legacy")
    whole = path.read_bytes()
    path.write_bytes(whole[: max(int(kept * len(whole)), 20)])
    assert "is truncated" in refusal(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "neither a .pth nor a .safetensors"),
        (bytes(2000), "neither a .pth nor a .safetensors"),
        (pickle.dumps(WEIGHTS, protocol=4), "Python pickle"),
        (pickle.dumps({"weights": [1.0]}, protocol=2), "not a checkpoint"),
        (b"\x80\x02" + bytes(200), "not a checkpoint"),
        (bytes(8) + b"{" + bytes(100), "is damaged"),
    ],
)
def test_other_formats(tmp_path, content, reason):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert reason in refusal(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    """Bytes overwritten anywhere: weights come out, or a sentence."""
    path, generator = tmp_path / "weights", torch.Generator().manual_seed(0)
    if kind == "safetensors":
        save_file(WEIGHTS, path)
    else:
        save(path, legacy=kind == "legacy")
    whole, refused = path.read_bytes(), 0
    for position in torch.randint(len(whole), (60,), generator=generator).tolist() + list(range(0, 600, 9)):
        noise = torch.randint(256, (12,), generator=generator, dtype=torch.uint8).numpy().tobytes()
        path.write_bytes(whole[:position] + noise + whole[position + 12 :])
        try:
            assert isinstance(read_checkpoint(path), dict)
        except CheckpointError:
            refused += 1
    assert refused > 10


def test_archives_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.writestr("pictures/one.txt", "no weights")
    assert "zip archive of something else" in refusal(tmp_path / "pictures.zip")
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "program.pt")
    assert "TorchScript" in refusal(tmp_path / "program.pt")


def test_no_state_dict(tmp_path):
    assert "holds no weights: it is a list" in refusal(save(tmp_path / "list.pth", [torch.ones(1)]))


class Calls:
    """Unpickled, it calls `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(mark):
    code = f"open({str(mark)!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, f"touch {mark}"),
        "exec": Calls(exec, code),
        "eval": Calls(eval, f"open({str(mark)!r}, 'w')"),
        "subprocess": Calls(subprocess.run, ["touch", str(mark)]),
        "open": Calls(open, str(mark), "w"),
        "getattr": Calls(getattr, OrderedDict, "__init__"),
        "getattr of mmengine's history": Calls(getattr, HistoryBuffer, "__init__"),
        "mmengine": Calls(Config._file2dict, str(mark)),
        "a class that acts when it is restored": Calls(Path.touch, mark),
    }


@pytest.mark.parametrize("attack", attacks("mark"))
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle 2", "pickle 4", "nested"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path, attack, kind):
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    evil = attacks(mark)[attack]
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps({"state_dict": evil}, protocol=int(kind[-1])))
    elif kind == "nested":
        save(path, {"state_dict": WEIGHTS, "meta": {"hooks": [("x", evil)]}})
    else:
        save(path, {"state_dict": evil, **WEIGHTS}, legacy=kind == "legacy")
    message = refusal(path)
    if not kind.startswith("pickle 4"):
        assert "is refused: it would call" in message
        assert "must not run code" in message
    with pytest.raises(CheckpointError):
        CheckpointLoader.load_checkpoint(str(path))
    assert not mark.exists()


def test_the_attacks_are_real(tmp_path):
    """Without the reader's guard they do run: the test above can fail."""
    mark = tmp_path / "mark"
    for name, evil in attacks(mark).items():
        if name in (
            "os.system",
            "exec",
            "eval",
            "subprocess",
            "open",
            "a class that acts when it is restored",
        ):
            path = save(tmp_path / "weights.pth", {"state_dict": evil})
            script = f"import torch; torch.load({str(path)!r}, weights_only=False)"
            if name == "os.system":  # one in a process of its own, as a victim would
                subprocess.run([sys.executable, "-c", script], check=True)
            else:
                torch.load(path, weights_only=False)
            assert mark.exists(), name
            mark.unlink()


def test_a_refusal_names_what_would_be_called(tmp_path):
    path = save(tmp_path / "weights.pth", {"a": Calls(os.system, "true"), "b": Calls(exec, "1")})
    message = refusal(path)
    assert "exec" in message
    assert "system" in message


def test_arguments_of_training_programs_are_harmless(tmp_path):
    path = save(tmp_path / "weights.pth", {"model": WEIGHTS, "args": argparse.Namespace(lr=0.1)})
    assert read_checkpoint(path)["args"].lr == 0.1
