"""Rewriting a published checkpoint in this project's names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from safetensors.torch import save_file
from torch import Tensor, nn

from brs_detr.data.calibration import KEY, Calibration
from brs_detr.engine.class_order import are, classes_in
from brs_detr.engine.setup.config import read_config
from brs_detr.engine.setup.config_names import CONFIGS
from brs_detr.errors import CheckpointError
from brs_detr.files import whole_file
from brs_detr.weights import (
    LoadReport,
    Skeleton,
    check_numbers,
    first_not_finite,
    map_state_dict,
    read_checkpoint,
    weights_of,
)
from brs_detr.weights.mapping import Translation

SUFFIXES = (".pth", ".safetensors")


def build_skeleton(config: str | Path) -> nn.Module:
    """The model of a config without memory for its weights.

    Raises:
        InputError: the config cannot be read.
    """
    init_default_scope("mmdet")
    model_config = read_config(config).model
    with Skeleton():
        return MODELS.build(model_config)


def choose_config(state_dict: Mapping[str, Tensor], configs: Path = CONFIGS) -> Path:
    """The config below `configs` whose model takes the whole file, with as few exceptions as possible.

    Raises:
        CheckpointError: no model does.
    """
    exceptions: dict[Path, int] = {}
    for path in sorted(configs.glob("[!_]*/*.py")):
        _, report = map_state_dict(state_dict, build_skeleton(path))
        if report.complete:
            exceptions[path] = len(report.reshaped) + len(report.fresh) + len(report.unused)
        if exceptions.get(path) == 0:
            return path
    if not exceptions:
        raise CheckpointError("The checkpoint fits none of the project's configs: give its own with --config.")
    return min(exceptions, key=lambda path: exceptions[path])


def convert(
    source: Path, destination: Path, config: str | Path | None = None, half: bool = False
) -> tuple[Path, LoadReport]:
    """Write the weights of `source` to `destination` as the model of a config names and lays them out.

    Class layers are written as they are, whatever number of classes the config has. The source is only read.

    config: of the model; the project's config that fits best where it is None.
    half: write floating-point numbers in half precision, for a smaller file.

    Returns:
        The config and what became of every tensor.

    Raises:
        CheckpointError: the source cannot be read or does not fit, or is the destination.
    """
    check_suffix(destination)
    if destination.exists() and source.exists() and destination.samefile(source):
        raise CheckpointError(f"{destination} is the source itself: choose another destination.")
    content = read_checkpoint(source)
    state_dict = weights_of(content, source)
    chosen = Path(config) if config else choose_config(state_dict)
    model = build_skeleton(chosen)
    mapped, report = map_state_dict(state_dict, model)
    if not report.complete:
        raise CheckpointError(f"{source} ({report.source}) does not fit the model of {chosen}: {report.lack}.")
    check_numbers(mapped, model, source)
    translation = Translation(state_dict.keys(), model)
    wanted = {*report.loaded, *report.reshaped}
    entries = (translation.entry(name, tensor) for name, tensor in state_dict.items())
    weights = {target: tensor for target, tensor in entries if target in wanted}
    if half:
        weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    if name := first_not_finite(weights):
        reason = "exceed half precision: leave out --half" if half else "are not finite"
        raise CheckpointError(f"The checkpoint {source} holds numbers in {name} that {reason}.")
    write_weights(destination, weights, _meta(content, source, report), Calibration.of(content, source))
    return chosen, report


def write_weights(
    path: Path, weights: dict[str, Tensor], meta: dict[str, Any], calibration: Calibration | None = None
) -> None:
    """Write a state_dict as .pth, with `meta` and the calibration beside it, or .safetensors, without calibration.

    Raises:
        CheckpointError: the path has another suffix.
    """
    check_suffix(path)
    with whole_file(path) as temporary:
        if path.suffix == ".pth":
            with temporary.open("wb") as file:  # whose errors say what is wrong, unlike those of a path
                beside = {} if calibration is None else {KEY: calibration.as_dict()}
                torch.save({"state_dict": weights, "meta": meta, **beside}, file)
        else:
            alone = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
            save_file(alone, temporary, {name: str(value) for name, value in meta.items()})


def check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path} must end in {' or '.join(SUFFIXES)}.")


def _meta(content: Mapping[str, Any], source: Path, report: LoadReport) -> dict[str, Any]:
    """Where the weights come from, and the class names that the file knows."""
    theirs: Any = content.get("meta")
    theirs = theirs if isinstance(theirs, Mapping) else {}
    dataset = theirs.get("dataset_meta")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    palette = dataset.get("palette", theirs.get("PALETTE"))
    listed = are(palette, (list, tuple)) and all(are(colour, int) for colour in palette)
    known = {
        "classes": classes_in(content),
        "palette": palette if listed or isinstance(palette, str) else None,
    }
    return {"source": source.name, "format": report.source, "dataset_meta": known}
