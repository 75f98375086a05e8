"""A config for other data: data sets, evaluators, class counts, and what suits the objects."""

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from brs_detr.data.checks import coco_evaluators, declared_class_counts, leaf_datasets
from brs_detr.engine.setup import pipelines

Places = Mapping[str, tuple[Path, Path]]  # of a split: its COCO file, and the folder of its images
SMALL, LARGE = 16, 64  # pixels that the side of an object should have when it reaches the model
LEAST, MOST = 0.5, 1.5  # of the config's image size
GRID = 32  # pixels: image sizes are multiples
QUERIES_AN_OBJECT, QUERIES_STEP, MOST_QUERIES = 2, 50, 1500


def use_data(config: Config, places: Places, classes: tuple[str, ...]) -> None:
    """Let a config, of whatever data, read these COCO files, with as many classes in every head.

    Its pipelines, batches and wrappers such as RepeatDataset stay; test reads val's files where it has none.
    """
    for split in ("train", "val", "test"):
        annotations, images = places.get(split) or places["val"]
        if config.get(f"{split}_dataloader"):
            set_dataset(config, split, annotations, images, classes)
        if config.get(f"{split}_evaluator"):
            set_evaluator(config, split, annotations)
    counts = {place: len(classes) for place, _ in declared_class_counts(config.model)}
    config.merge_from_dict(counts)
    checkpoint = config.get("default_hooks", {}).get("checkpoint") or {}
    if checkpoint.get("save_best"):
        checkpoint["save_best"] = "coco/bbox_mAP"


def set_dataset(config: Config, split: str, annotations: Path, images: Path, classes: tuple[str, ...]) -> None:
    """Put a COCO data set in the place of a split's data set, or of the one inside its wrappers."""
    loader = copy.deepcopy(config[f"{split}_dataloader"])
    leaves = list(leaf_datasets(loader.dataset))
    kept = {key: leaves[0][key] for key in ("pipeline", "filter_cfg", "test_mode") if key in leaves[0]}
    dataset = ConfigDict(
        type="CocoDataset",
        data_root=str(images),
        data_prefix=dict(img=""),
        ann_file=str(annotations),
        metainfo=dict(classes=classes),
        **kept,
    )
    if len(leaves) > 1:
        loader.dataset = dataset
    else:
        leaves[0].clear()
        leaves[0].update(dataset)
    config[f"{split}_dataloader"] = loader


def set_evaluator(config: Config, split: str, annotations: Path) -> None:
    """Compare with a split's COCO file, by boxes, and by masks where the config did."""
    given = (coco_evaluators(config, split) or [{}])[0]
    kept = {key: given[key] for key in ("classwise", "proposal_nums") if key in given}
    metric = given.get("metric", "bbox")
    evaluator = dict(type="CocoMetricWithThreshold", ann_file=str(annotations), metric=metric, **kept)
    config[f"{split}_evaluator"] = ConfigDict(evaluator)


def suitable_size(config: Config, sides: np.ndarray, sizes: np.ndarray) -> tuple[int, int] | None:
    """The image size, longer side first, at which three quarters of the objects have at least `SMALL` pixels a side.

    It is the config's where that is so, smaller where they have more than `LARGE`; within half and 1.5 times it.

    Args:
        sides: (N,) of the objects, the roots of their areas.
        sizes: (N, 2) of their images, both in pixels.

    Returns:
        None where the config's is to stay, or says nothing of size.
    """
    present = pipelines.test_size(config)
    if present is None or not len(sides):
        return None
    factors = np.minimum(present[0] / sizes.max(axis=1), present[1] / sizes.min(axis=1))
    quarter = float(np.quantile(sides * factors, 0.25))
    wanted = min(max(quarter, SMALL), LARGE) / quarter
    factor = min(max(wanted, LEAST), MOST)
    chosen = max(GRID, round(present[0] * factor / GRID) * GRID), max(GRID, round(present[1] * factor / GRID) * GRID)
    return None if factor == 1 else chosen


def limited(test_cfg: Any) -> Iterator[dict[str, Any]]:
    """The parts of a test_cfg that limit how many boxes are kept of an image, one for each head; proposals are none."""
    if isinstance(test_cfg, list | tuple):
        for each in test_cfg:
            yield from limited(each)
    elif isinstance(test_cfg, dict):
        if test_cfg.get("max_per_img"):
            yield test_cfg
        for key, value in test_cfg.items():
            if key != "rpn":
                yield from limited(value)


def keep_detections(config: Config, most: int) -> list[str]:
    """Let every head keep twice as many boxes as an image has objects, where it would keep fewer than there are.

    Returns:
        A sentence where that is so.
    """
    short = [each for each in limited(config.model.get("test_cfg")) if each["max_per_img"] < most]
    before = sorted({each["max_per_img"] for each in short})
    for each in short:
        each["max_per_img"] = rounded_up(QUERIES_AN_OBJECT * most)
    if not short:
        return []
    return [
        f"max_per_img of model.test_cfg is {short[0]['max_per_img']} instead of {' and '.join(map(str, before))}: an "
        f"image has {most} objects."
    ]


def keep_low_scores(config: Config) -> list[str]:
    """Let a ranking RoI head give all its detections, whatever their scores, which have no scale of their own.

    Returns:
        A sentence where the config has them above a threshold.
    """
    heads = config.model.get("roi_head", {}).get("bbox_head") or {}
    rcnn = (config.model.get("test_cfg") or {}).get("rcnn") or {}
    first = heads[0] if isinstance(heads, list | tuple) else heads
    if not str(first.get("type")).startswith("Ranking") or not rcnn.get("score_thr"):
        return []
    before, rcnn["score_thr"] = rcnn["score_thr"], 0.0
    return [
        f"model.test_cfg.rcnn.score_thr is 0.0 instead of {before:g}, which was chosen on COCO: scores of a ranking "
        "loss have no scale of their own, and an evaluation needs the low ones as well."
    ]


def rounded_up(queries: int) -> int:
    return QUERIES_STEP * math.ceil(queries / QUERIES_STEP)


def suitable_queries(config: Config, most: int) -> int | None:
    """The number of queries for images of up to `most` objects: two an object, but no fewer than the config has.

    Returns:
        None where the config's number suffices, or its detector has no queries.
    """
    present = config.model.get("num_queries")
    wanted = min(rounded_up(QUERIES_AN_OBJECT * most), MOST_QUERIES)
    return wanted if present is not None and wanted > present else None
