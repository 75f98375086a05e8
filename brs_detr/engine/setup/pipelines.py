"""What happens to the images of a config: which pipeline counts, their size, and flips."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from brs_detr.errors import InputError

VARIABLES = {"train_pipeline": ("train",), "test_pipeline": ("val", "test")}  # and the splits that follow them
FLIPS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "horizontal": {"type": "RandomFlip", "prob": 0.5},
    "vertical": {"type": "RandomFlip", "prob": 0.5, "direction": "vertical"},
    "both": {"type": "RandomFlip", "prob": 0.75, "direction": ["horizontal", "vertical", "diagonal"]},
}
LEAST_SIDE = 32


def holders(config: Config, split: str) -> Iterator[ConfigDict]:
    """The data sets of a split that have a pipeline, wrappers among them."""

    def inside(dataset: ConfigDict) -> Iterator[ConfigDict]:
        if "pipeline" in dataset:
            yield dataset
        for inner in dataset.get("datasets") or ([dataset["dataset"]] if "dataset" in dataset else []):
            yield from inside(inner)

    loader = config.get(f"{split}_dataloader") or {}
    yield from inside(loader["dataset"]) if "dataset" in loader else ()


def follow_variables(config: Config, file: Path) -> None:
    """Let `train_pipeline` and `test_pipeline` of a config take effect where a base gave its own to the data sets.

    A base writes ``train_dataloader = dict(dataset=dict(pipeline=train_pipeline))``, and mmengine puts the value there
    before a derived config changes the variable. A data set whose pipeline is a value that the variable had on the way
    follows it; one with a pipeline of its own keeps that.
    """
    for name, splits in VARIABLES.items():
        following = [holder for split in splits for holder in holders(config, split)]
        wanted = config.get(name)
        if wanted is None or any(holder.pipeline == wanted for holder in following):
            continue
        earlier = list(values_on_the_way(name, str(file))) if following else []
        for holder in following:
            if holder.pipeline in earlier:
                holder.pipeline = copy.deepcopy(wanted)


def values_on_the_way(name: str, file: str) -> Iterator[Any]:
    """The values of a variable in a config file and in all that it is based on."""
    if name in Path(file).read_text():  # others only inherit it
        yield Config.fromfile(file).get(name)
    for base in Config._get_base_files(file):
        yield from values_on_the_way(name, Config._get_cfg_path(base, file)[0])


def size(text: str) -> tuple[int, int]:
    """The two sides of ``N`` or ``WxH``, the longer one first.

    Raises:
        InputError: it is neither.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) >= LEAST_SIDE for side in sides):
        raise InputError(f"--image-size {text}: give a number of pixels from {LEAST_SIDE} on, or WIDTHxHEIGHT.")
    return max(map(int, sides)), min(map(int, sides))


def steps(pipeline: list[ConfigDict]) -> Iterator[ConfigDict]:
    """All steps, those that others choose from among them."""
    for step in pipeline:
        yield step
        for choice in step.get("transforms", []):
            yield from steps(choice if isinstance(choice, list) else [choice])


def test_size(config: Config) -> tuple[int, int] | None:
    """The size, longer side first, that images are resized to when they are evaluated; None where nothing says so."""
    for split in ("test", "val"):
        for holder in holders(config, split):
            for step in steps(holder.pipeline):
                if is_pair(step.get("scale")):
                    return max(step.scale), min(step.scale)
    return None


def is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(side, int) for side in value)


def change(config: Config, splits: tuple[str, ...], changed: Callable[[list], list]) -> None:
    """Change the pipelines of splits, and the variables that they follow."""
    for split in splits:
        if f"{split}_dataloader" in config:
            config[f"{split}_dataloader"] = copy.deepcopy(config[f"{split}_dataloader"])  # val's may be test's as well
        for holder in holders(config, split):
            holder.pipeline = changed(holder.pipeline)
            for name, following in VARIABLES.items():
                if split in following and name in config:
                    config[name] = copy.deepcopy(holder.pipeline)


def set_by_options(config: Config, image_size: str | None, flip: str | None) -> None:
    """What ``--image-size`` and ``--flip`` say, where they are given; see `size` and `FLIPS`."""
    if image_size is not None:
        set_size(config, size(image_size))
    if flip is not None:
        set_flip(config, flip)


def set_size(config: Config, to: tuple[int, int]) -> None:
    """Resize images to fit this size, longer side first; scales and crops of training change in proportion.

    Raises:
        InputError: the config says no size to begin with.
    """
    present = test_size(config)
    if present is None:
        raise InputError(f"--image-size: no step of the test pipeline of {config.filename} has a scale to change.")
    longer, shorter = to[0] / present[0], to[1] / present[1]

    def scaled(value: Any) -> Any:
        if isinstance(value, int):
            return max(1, round(value * shorter))
        if is_pair(value):
            factors = (longer, shorter) if value[0] >= value[1] else (shorter, longer)
            return tuple(max(1, round(side * factor)) for side, factor in zip(value, factors, strict=True))
        return [scaled(each) for each in value]

    def changed(pipeline: list) -> list:
        for step in steps(pipeline):
            for key in {"scale", "img_scale"} & step.keys():
                step[key] = scaled(step[key])
            if "scales" in step:
                step.scales = [scaled(each) for each in step.scales]
            if "crop_size" in step and is_pair(step.crop_size) and step.crop_size[0] >= 1:
                step.crop_size = tuple(scaled(side) for side in step.crop_size)
        return pipeline

    change(config, ("train", "val", "test"), changed)


def set_flip(config: Config, flip: str) -> None:
    """Flip training images in one of `FLIPS`'s ways, in place of the config's own."""

    def changed(pipeline: list) -> list:
        kinds = [step["type"] for step in pipeline]
        loaded = kinds.index("LoadAnnotations") + 1 if "LoadAnnotations" in kinds else 1
        place = kinds.index("RandomFlip") if "RandomFlip" in kinds else loaded
        kept = [step for step in pipeline if step["type"] != "RandomFlip"]
        return kept[:place] + ([ConfigDict(FLIPS[flip])] if FLIPS[flip] else []) + kept[place:]

    change(config, ("train",), changed)
