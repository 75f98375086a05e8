"""All that the page shows, as plain values: numbers, texts and pictures."""

from collections import Counter
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np

from brs_detr.data.images import read_image
from brs_detr.engine.inference.matching import IGNORED, MISSED, TRUE
from brs_detr.engine.progress.curves import Rows, read_scalars
from brs_detr.engine.progress.loss_parts import loss_parts
from brs_detr.engine.progress.metrics import ap_labels
from brs_detr.engine.report import errors, evaluation
from brs_detr.engine.report.collecting import Collection
from brs_detr.engine.report.crops import LONGEST, as_address
from brs_detr.errors import InputError
from brs_detr.version import __version__

POINTS = 400  # of a curve
LIBRARIES = ("torch", "mmdet", "mmengine")


def facts(config: str, checkpoint: str, collection: Collection, device: str) -> list[tuple[str, str]]:
    """What the page is about."""
    objects = sum(int((~example.truth.crowd).sum()) for example in collection.examples)
    held = f"{len(collection.examples)} images, {objects} objects, {len(collection.source.classes)} classes"
    return [
        ("Config", config),
        ("Checkpoint", checkpoint),
        ("Data", f"{collection.source.annotations}: {held}"),
        ("Made", f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z} on {device}"),
        ("Versions", ", ".join([f"brs_detr {__version__}", *map(_version, LIBRARIES), f"Python {python_version()}"])),
    ]


def _version(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return f"{library} unknown"


def precision(collection: Collection) -> dict[str, Any]:
    """AP of boxes and, if there are any, masks: of all classes and of each, with precision at each recall."""
    kinds = {"boxes": "bbox"} | ({"masks": "segm"} if collection.with_masks else {})
    content: dict[str, Any] = {"columns": evaluation.COLUMNS, "ious": evaluation.CURVES}
    for name, kind in kinds.items():
        found = evaluation.evaluate(collection, kind)
        held = {each["id"]: each["name"] for each in collection.source.content["categories"]}
        labels = [collection.source.classes.index(held[identity]) for identity in found.params.catIds]
        every, *of_each = evaluation.recall_curves(found)
        content[name] = {
            "all": evaluation.averages(found.eval["precision"], found.params.iouThrs),
            "classes": dict(zip(labels, evaluation.by_class(found), strict=True)),
            "curves": {-1: every} | dict(zip(labels, of_each, strict=True)),
        }
    return content


class Operation:
    """The detections from a threshold on: which errors they have, and the images with the worst of them."""

    def __init__(self, collection: Collection, threshold: float) -> None:
        self.examples = collection.examples
        self.highest = max((float(each.found.scores.max()) for each in self.examples if len(each.found)), default=1.0)
        self.shown = [each.found[each.found.scores >= threshold] for each in self.examples]
        self.verdicts = [
            errors.classify(found, each.truth) for found, each in zip(self.shown, self.examples, strict=True)
        ]

    def counts(self) -> Counter[str]:
        kinds: Counter[str] = Counter()
        for verdicts in self.verdicts:
            kinds.update(kind for kind in verdicts.kinds if kind in errors.KINDS)
            kinds[MISSED] += verdicts.fates.count(MISSED)
        return kinds

    def worst(self, number: int) -> list[dict[str, Any]]:
        """The images whose errors weigh most: a missed object 1, a false detection its score by the highest."""
        severity = [self._severity(k) for k in range(len(self.examples))]
        order = [k for k in np.argsort(-np.array(severity), kind="stable").tolist() if severity[k] > 0]
        return [image for k in order[:number] if (image := self._image(k))]

    def _severity(self, k: int) -> float:
        scores, verdicts = self.shown[k].scores.tolist(), self.verdicts[k]
        false = sum(score for score, kind in zip(scores, verdicts.kinds, strict=True) if kind in errors.KINDS)
        return false / max(self.highest, 1e-12) + verdicts.fates.count(MISSED)

    def _image(self, k: int) -> dict[str, Any] | None:
        example, found, verdicts = self.examples[k], self.shown[k], self.verdicts[k]
        try:
            pixels = read_image(example.path)
        except InputError:  # it is gone since
            return None
        truth = example.truth
        return {
            "name": example.name,
            "size": list(example.size),
            "src": as_address(pixels, LONGEST),
            "found": [
                dict(box=_rounded(box), label=label, score=float(f"{score:.4g}"), kind=kind, iou=round(float(iou), 3))
                | ({"object": int(j)} if j >= 0 else {})
                for box, label, score, kind, iou, j in zip(
                    found.bboxes.tolist(), found.labels.tolist(), found.scores.tolist(), verdicts.kinds,
                    verdicts.ious, verdicts.objects, strict=True,
                )
                if kind != IGNORED
            ],
            "objects": [
                dict(box=_rounded(box), label=label, fate=fate)
                for box, label, fate in zip(truth.bboxes.tolist(), truth.labels.tolist(), verdicts.fates, strict=True)
            ],
        }  # fmt: skip


def _rounded(box: list[float]) -> list[float]:
    return [round(side, 1) for side in box]


def detections(collection: Collection, images: int) -> dict[str, Any]:
    """Thresholds, kinds of errors, the worst images, and how far scores are shares of right detections."""
    verdicts = [errors.classify(each.found, each.truth) for each in collection.examples]
    found = errors.table((each.found, each.truth, of) for each, of in zip(collection.examples, verdicts, strict=True))
    stored = collection.calibration.threshold if collection.calibration else None
    thresholds = evaluation.threshold_curves(found, len(collection.source.classes), stored)
    threshold = thresholds["thresholds"][thresholds["start"]] if thresholds["thresholds"] else 0.0
    operation = Operation(collection, threshold)
    counts, (precision_50, costs) = operation.counts(), errors.costs(found)
    return {
        "thresholds": thresholds,
        "errors": {
            "precision": precision_50,
            "kinds": [dict(kind=kind, number=counts[kind], cost=costs[kind]) for kind in errors.KINDS],
        },
        "images": operation.worst(images),
        "reliability": _reliability(collection, verdicts) if collection.calibration else None,
    }


def _reliability(collection: Collection, verdicts: list[errors.Verdicts]) -> dict[str, Any]:
    kinds = np.concatenate([np.array(each.kinds, "U16") for each in verdicts])
    used = kinds != IGNORED
    before = np.concatenate([example.raw for example in collection.examples])[used]
    after = np.concatenate([example.found.scores.numpy() for example in collection.examples])[used]
    correct = kinds[used] == TRUE
    return {"before": evaluation.reliability(before, correct), "after": evaluation.reliability(after, correct)}


def training(work_dir: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Curves of losses, AP and learning rate, None where there are none; remarks."""
    try:
        return _curves(*read_scalars(work_dir)), []
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # whatever is in the file
        return None, [f"The curves of the training are left out: a scalars.json in {work_dir} cannot be read."]


def _curves(rows: Rows, metrics: Rows) -> dict[str, Any] | None:
    if not rows:
        return None
    parts: Rows = {step: {"total": row["loss"], **loss_parts(row)} for step, row in rows.items()}
    names = ap_labels(dict.fromkeys(key for row in metrics.values() for key in row))
    rates = {step: {"learning rate": row["lr"]} for step, row in rows.items() if "lr" in row}
    scores = {step: {label: row.get(key) for key, label in names.items()} for step, row in metrics.items()}
    return {"losses": _series(parts), "metrics": _series(scores), "rate": _series(rates)}


def _series(rows: Rows) -> list[dict[str, Any]]:
    """Each column as a curve of at most `POINTS` points; what is missing or not finite leaves a gap."""
    steps = sorted(rows)
    steps = steps[:: max(1, -(-len(steps) // POINTS))]
    names = dict.fromkeys(name for step in steps for name in rows[step])
    return [{"name": name, "x": steps, "y": [_finite(rows[step].get(name)) for step in steps]} for name in names]


def _finite(value: Any) -> float | None:
    return float(f"{value:.5g}") if isinstance(value, (int, float)) and np.isfinite(value) else None
