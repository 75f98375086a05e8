"""Names of AP in evaluations: mmdet gives COCO's and LVIS's metrics other names, behind the data set's prefix."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

BY_CLASS = "per_class"  # in metrics.json
LABELS = {
    "bbox_mAP": "AP",
    "bbox_AP": "AP",
    "bbox_mAP_50": "AP50",
    "bbox_AP50": "AP50",
    "bbox_mAP_75": "AP75",
    "bbox_AP75": "AP75",
    "segm_mAP": "mask AP",
    "segm_AP": "mask AP",
}


def ap_labels(keys: Iterable[str]) -> dict[str, str]:
    """What to call the AP among the metrics, such as ``{"lvis/bbox_AP": "AP"}``, in the order of LABELS.

    Where several data sets are evaluated, the label ends with the data set's prefix.
    """
    found = {name: [key for key in keys if _split(key)[1] == name] for name in LABELS}
    chosen = {key: LABELS[name] for name, matching in found.items() for key in matching}
    if len({_split(key)[0] for key in chosen}) > 1:
        return {key: f"{label} {_split(key)[0]}".rstrip() for key, label in chosen.items()}
    return chosen


def without_prefix(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics by their names alone, ``bbox_mAP`` for ``coco/bbox_mAP``; as they are if two would become one."""
    short = {_split(key)[1]: value for key, value in metrics.items()}
    return short if len(short) == len(metrics) else dict(metrics)


def may_be_replaced(path: Path) -> bool:
    """Whether metrics may be written here: there is no file, or an empty one, or one of metrics."""
    if not path.exists() or not path.stat().st_size:
        return True
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return False
    return _are_metrics(content)


def _are_metrics(content: object) -> bool:
    """Whether a JSON object holds numbers alone, those of each class among them."""
    return isinstance(content, dict) and all(
        isinstance(value, float | int | None) or (name == BY_CLASS and all(map(_are_metrics, value.values())))
        for name, value in content.items()
    )


def _split(key: str) -> tuple[str, str]:
    """The data set's prefix and the name of a metric."""
    prefix, _, name = key.rpartition("/")
    return prefix, name
