"""Every config fits itself to other data: heads, data sets, evaluators, and what suits the objects."""

import copy
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import MODELS
from mmengine.config import Config

from brs_detr.data.checks import check_evaluators, coco_sources, declared_class_counts, leaf_datasets
from brs_detr.engine.setup import adapting, pipelines
from brs_detr.weights import Skeleton
from tests.configs.test_configs import CONFIGS
from tests.reference import ROOT

CLASSES = ("cat", "dog", "tree")
FILES = {"train": (Path("/data/train.json"), Path("/data/a")), "val": (Path("/data/val.json"), Path("/data/b"))}
FAMILIES = {path.parent.name: path for path in CONFIGS}  # one of each


def adapted(before: Config) -> Config:
    config = copy.deepcopy(before)
    adapting.use_data(config, FILES, CLASSES)
    return config


def test_every_config_reads_other_data() -> None:
    for path in CONFIGS:
        before = Config.fromfile(path)
        for name, splits in pipelines.VARIABLES.items():  # each is set once
            assert all(each.pipeline == before[name] for split in splits for each in pipelines.holders(before, split))
        config = adapted(before)
        assert {count for _, count in declared_class_counts(config.model)} == {3}
        for split in ("train", "val", "test"):
            (source,) = coco_sources(config, split)
            file, images = FILES.get(split, FILES["val"])
            assert (source.annotations, source.images, source.classes) == (file, images, CLASSES)
            check_evaluators(config, split, [source])
            (leaf,) = leaf_datasets(config[f"{split}_dataloader"].dataset)
            (old,) = leaf_datasets(before[f"{split}_dataloader"].dataset)
            assert leaf.pipeline == old.pipeline
        assert ("segm" in config.val_evaluator.metric) == (path.parent.name == "mask_rcnn")
        assert config.default_hooks.checkpoint.save_best == "coco/bbox_mAP"


@pytest.mark.parametrize("path", FAMILIES.values(), ids=FAMILIES)
def test_models_have_as_many_outputs(path: Path) -> None:
    """Of decoder, encoder proposals, RoI, mask and dense heads; the RPN keeps one."""
    before = Config.fromfile(path)
    config = adapted(before)
    with Skeleton():
        model, old = MODELS.build(copy.deepcopy(config.model)), MODELS.build(copy.deepcopy(before.model))
    shapes, old_shapes = ({n: p.shape for n, p in each.named_parameters()} for each in (model, old))
    changed = {name for name, shape in shapes.items() if shape != old_shapes[name]}
    assert changed
    assert not any(name.startswith(("rpn_head", "backbone", "neck")) for name in changed)
    outputs = [name for name in changed if name.endswith("bias") and "reg" not in name]
    assert all(len(dict(model.named_parameters())[name]) % 3 in (0, 1) for name in outputs)


@pytest.mark.parametrize(
    ("side", "size"),
    [(60, None), (20, None), (12, (1792, 1056)), (5, (1984, 1216)), (70, (1216, 736)), (600, (672, 384))],
)
def test_image_size_suits_the_objects(side: float, size: tuple[int, int] | None) -> None:
    """Of images of 640 x 480 pixels, which the config enlarges by 5/3."""
    config = Config.fromfile(ROOT / "configs" / "brs_detr" / "brs-detr_r50_1x_coco.py")
    sides = np.array([side * 6 / 10.0] * 10)
    assert adapting.suitable_size(config, sides, np.array([[640, 480]] * 10)) == size


def test_queries_suit_the_objects() -> None:
    config = Config.fromfile(ROOT / "configs" / "brs_detr" / "brs-detr_r50_1x_coco.py")
    assert [adapting.suitable_queries(config, most) for most in (5, 150, 151, 400, 5000)] == [
        None, None, 350, 800, 1500]  # fmt: skip
    assert adapting.suitable_queries(Config.fromfile(FAMILIES["atss"]), 400) is None
    assert pipelines.test_size(config) == (1333, 800)


def kept(config: Config) -> set[int]:
    return {each["max_per_img"] for each in adapting.limited(config.model.test_cfg)}


def test_as_many_detections_are_kept_as_there_are_objects() -> None:
    config = Config.fromfile(ROOT / "configs" / "brs_detr" / "brs-detr_r50_1x_coco.py")
    assert adapting.keep_detections(config, 100) == []
    assert kept(config) == {100}
    (said,) = adapting.keep_detections(config, 301)
    assert said == "max_per_img of model.test_cfg is 650 instead of 100: an image has 301 objects."
    assert kept(config) == {650}
    assert config.model.test_cfg.rpn.max_per_img == 1000  # proposals


@pytest.mark.parametrize("family", ["faster_rcnn", "cascade_rcnn", "mask_rcnn"])
def test_ranking_roi_heads_give_low_scores_too(family: str) -> None:
    ranking = Config.fromfile(next(path for path in CONFIGS if path.parent.name == family and "brs" in path.name))
    (said,) = adapting.keep_low_scores(ranking)
    assert said.startswith("model.test_cfg.rcnn.score_thr is 0.0 instead of 0.4")
    assert ranking.model.test_cfg.rcnn.score_thr == 0
    assert adapting.keep_low_scores(ranking) == []
    other = Config.fromfile(ROOT / "configs" / "co_detr" / "co-deformable-detr_r50_1x_coco.py")
    assert adapting.keep_low_scores(other) == []
