"""Whether images reach a pretrained backbone as its weights know them."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from timm.models import PretrainedCfg, get_pretrained_cfg

MEAN_APART = 10.0  # of 255: so far apart no two are the same but for rounding
STD_APART = 0.1  # as a part


def remarks(config: Config) -> list[str]:
    """What to say where a timm backbone with weights gets images normalised otherwise than timm normalises them."""
    model = config.get("model")
    backbone, given = _part(model, "backbone"), _part(model, "data_preprocessor")
    trained = _known(backbone["model_name"]) if _pretrained_by_timm(backbone) else None
    if trained is None or not trained.mean or not trained.std or _by_a_transform(config):
        return []
    mean, std = ([round(255 * value, 3) for value in values] for values in (trained.mean, trained.std))
    if _alike(given.get("mean") or [0.0], given.get("std") or [1.0], mean, std):
        return []
    return [
        f"timm normalises images for {backbone['model_name']} by mean {mean} and std {std}, model.data_preprocessor by "
        f"mean {given.get('mean')} and std {given.get('std')}: unless your weights were trained with that, give --cfg-"
        f"options model.data_preprocessor.mean={_bare(mean)} model.data_preprocessor.std={_bare(std)}."
    ]


def _part(model: Any, name: str) -> dict[str, Any]:
    """Of a config that may be of any kind: what builds the model tells what is wrong with it."""
    part = model.get(name) if isinstance(model, dict) else None
    return part if isinstance(part, dict) else {}


def _pretrained_by_timm(backbone: dict[str, Any]) -> bool:
    init = backbone.get("init_cfg")
    weights = backbone.get("pretrained") or (isinstance(init, dict) and "checkpoint" in init)
    named = isinstance(backbone.get("model_name"), str) and isinstance(backbone.get("type"), str)
    return bool(weights) and named and backbone["type"].split(".")[-1] == "TimmBackbone"


def _known(name: str) -> PretrainedCfg | None:
    try:
        return get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        return None


def _by_a_transform(config: Config) -> bool:
    return "Normalize" in str(config.get("train_dataloader"))


def _alike(mean: Any, std: Any, other_mean: Sequence[float], other_std: Sequence[float]) -> bool:
    """Also of what are no numbers, which the data preprocessor refuses."""
    if not _numbers(mean) or not _numbers(std):
        return True
    near = all(abs(a - b) <= MEAN_APART for a, b in zip(mean, other_mean, strict=False))
    return near and all(abs(a / b - 1) <= STD_APART for a, b in zip(std, other_std, strict=False))


def _numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, int | float) for value in values)


def _bare(values: Sequence[float]) -> str:
    """As a command line takes a list."""
    return ",".join(f"{value:g}" for value in values)
