"""Class names of a checkpoint beside those of a config: labels are places in the list, so that their order counts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from brs_detr.data.checks import classes_of, format_of, leaf_datasets
from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint

CONTINUED = ", or start from its weights with --load-from"  # a further remedy, for a training


def classes_in(content: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The class names that a checkpoint's content has, in the order of its labels; None where it has none.

    Releases of mmdet have kept them in three places. A file may say anything of itself, and what makes no sense is left
    aside.
    """
    meta = _mapping(content.get("meta"))
    dataset = _mapping(meta.get("dataset_meta"))
    places = dataset.get("classes"), dataset.get("CLASSES"), meta.get("CLASSES")
    return next((tuple(names) for names in places if names and are(names, str)), None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def are(values: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether these are values of a kind, in a list or tuple."""
    return isinstance(values, (list, tuple)) and all(isinstance(value, kind) for value in values)


def classes_of_split(config: Config, split: str) -> tuple[str, ...] | None:
    """The class names of a split's data set, None where neither the config nor the data's format has any."""
    dataset = next(leaf_datasets(config[f"{split}_dataloader"].dataset))
    places = dataset.get("metainfo") or {}, getattr(format_of(dataset), "METAINFO", {})
    return classes_of(dataset) if any(place.get("classes") for place in places) else None


def compare(
    config: Config, split: str, checkpoint: str | Path, content: Mapping[str, Any] | None = None, remedy: str = ""
) -> list[str]:
    """Whether labels mean to a checkpoint what they mean to a split's data.

    Another number of classes is found where the weights are loaded.

    content: of the checkpoint, where it has been read. remedy: what else helps.

    Returns:
        A remark where names differ, for classes may have been renamed.

    Raises:
        InputError: the checkpoint cannot be read, or has the names in another order.
    """
    known = classes_in(read_checkpoint(checkpoint) if content is None else content)
    classes = classes_of_split(config, split)
    if known is None or classes is None or len(known) != len(classes) or known == classes:
        return []
    place = next(k for k, name in enumerate(known) if name != classes[k])
    first = f"class {place} is {known[place]!r:.60} in the checkpoint and {classes[place]!r:.60} in the config"
    if sorted(known) == sorted(classes):
        raise InputError(
            f"The checkpoint {checkpoint} has the classes of the config in another order, {first}: list them in the "
            f"checkpoint's order in metainfo.classes, and as the categories of the annotation files{remedy}."
        )
    return [f"The checkpoint {checkpoint} has other class names than the config, {first}: the config's are used."]
