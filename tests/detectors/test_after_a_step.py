"""After a training step nothing of it is left in a model: it can be copied, as averaging of weights does."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.host_reads import batch, tiny_model, training_step
from tests.reference import ROOT

FAMILIES = {path.parent.name: path for path in sorted((ROOT / "configs").glob("[!_]*/*_tiny_digits.py"))}


def held_tensors(module: nn.Module) -> list[str]:
    """Attributes that are or hold tensors with a graph, besides parameters."""
    held = []
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            values = value if isinstance(value, list | tuple) else [value]
            flat = [leaf for leaf in values for leaf in (leaf if isinstance(leaf, tuple) else [leaf])]
            if any(isinstance(leaf, Tensor) and leaf.grad_fn is not None for leaf in flat):
                held.append(f"{name}.{key}")
    return held


@pytest.mark.parametrize("path", FAMILIES.values(), ids=list(FAMILIES))
def test_a_trained_model_can_be_copied(path: Path) -> None:
    name = f"{path.parent.name}/{path.stem.removesuffix('_tiny_digits')}"
    model = tiny_model(name)
    attributes = {part: set(vars(module)) for part, module in model.named_modules()}
    training_step(model, batch())
    assert held_tensors(model) == []
    assert {part: set(vars(module)) for part, module in model.named_modules()} == attributes
    twin = copy.deepcopy(model)
    for (key, mine), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, other), key


@pytest.mark.parametrize("name", ["mask_rcnn/brs-mask-rcnn", "brs_detr/brs-detr"])
def test_a_failed_step_leaves_nothing_either(name: str) -> None:
    model = tiny_model(name)
    data = batch()
    data["inputs"] = [image.float() * float("nan") for image in data["inputs"]]
    with pytest.raises(ValueError, match="NaN"):
        training_step(model, data)
    assert held_tensors(model) == []
