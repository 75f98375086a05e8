"""Weights that no model can compute with are refused by name, and the model stays as it is."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from brs_detr.weights import CheckpointError, load_checkpoint, load_content
from tests.weights.files import tiny_resnet

NAME = "layer2.0.conv1.weight"


def sparse(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layouts in beta
        return tensor.flatten(1).to_sparse_csr()


def with_nan(tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    changed.flatten()[-1] = float("nan")
    return changed


UNUSUAL: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "meta": (lambda tensor: tensor.to("meta"), "as a tensor without memory"),
    "sparse": (lambda tensor: tensor.to_sparse(), "as a sparse or nested tensor"),
    "compressed": (sparse, "as a sparse or nested tensor"),
    "complex": (lambda tensor: tensor.to(torch.complex64), "as numbers of the kind torch.complex64"),
    "float8": (lambda tensor: tensor.to(torch.float8_e4m3fn), "as numbers of the kind torch.float8"),
    "integers": (lambda tensor: tensor.long(), "as integers"),
    "NaN": (with_nan, "NaN or infinite numbers in"),
    "infinite": (lambda tensor: tensor / 0, "NaN or infinite numbers in"),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_one_unusual_tensor(kind: str) -> None:
    change, reason = UNUSUAL[kind]
    weights = tiny_resnet().state_dict()
    weights[NAME] = change(weights[NAME])
    model = tiny_resnet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_content(model, {"state_dict": weights}, "weights.pth")
    assert NAME in str(caught.value)
    assert "weights.pth" in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_quantised() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to drop them
        quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    with pytest.raises(CheckpointError, match="as a quantised tensor"):
        load_content(tiny_resnet(), {"conv1.weight": quantised}, "weights.pth")


def test_buffers_too() -> None:
    weights = tiny_resnet().state_dict()
    weights["bn1.running_var"][1] = float("inf")
    with pytest.raises(CheckpointError, match=r"numbers in bn1\.running_var"):
        load_content(tiny_resnet(), weights, "weights.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_loaded(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in tiny_resnet().state_dict().items()
    }
    save_file(weights, tmp_path / "weights.safetensors")
    model = tiny_resnet()
    load_checkpoint(model, tmp_path / "weights.safetensors")
    assert torch.equal(model.conv1.weight, weights["conv1.weight"].float())


@pytest.mark.parametrize("name", [5, None, (1, 2), True])
def test_names_that_are_no_text(tmp_path: Path, name: object) -> None:
    torch.save({"state_dict": {name: torch.ones(1), "conv1.weight": torch.ones(1)}}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="whose name is no text"):
        load_checkpoint(tiny_resnet(), tmp_path / "weights.pth")
