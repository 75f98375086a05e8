"""Configs of the classical detectors build and train on any batch; their losses are all that sets them apart."""

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config

from tests.configs.test_configs import build_model, number_of_classes, train_one_step
from tests.reference import ROOT
from tests.samples import make_batch

PREFIXES = {
    "faster_rcnn/faster-rcnn": ("rs", "brs"),
    "cascade_rcnn/cascade-rcnn": ("rs", "brs"),
    "atss/atss": ("ap", "bap", "rs", "brs", "alrp"),
    "paa/paa": ("ap", "bap", "rs", "brs"),
}
COCO, TINY = "r50_fpn_1x_coco", "tiny_digits"
LOSS_KEYS = re.compile(
    r"model\.(roi_head\.|rpn_head\.)?(bbox_head\.)?(\d\.)?"
    r"(type|loss_cls.*|loss_bbox.*|bbox_coder\.target_.*|stage_loss_weights.*)$"
    r"|model\.train_cfg\.(rpn\.sampler.*|rcnn(\.\d)?\.sampler\.num)$|model\.test_cfg\.rcnn\.score_thr$"
    r"|optim_wrapper\.optimizer\.lr$"
    r"|model\.train_cfg\.(rpn|rcnn)\.assigner\.type$"  # with the assignments of mmdet's
)
RECIPE_KEYS = re.compile(  # what the published recipes change besides
    r"model\.bbox_head\.anchor_generator\.(octave_base_scale|scales_per_octave)$"
    r"|model\.train_cfg\.rpn_proposal\.max_per_img$"
)


def variant(base: str, prefix: str, suffix: str) -> str:
    folder, name = base.split("/")
    return f"{folder}/{prefix + '-' if prefix else ''}{name}_{suffix}"


@functools.cache
def read(name: str) -> Config:
    return Config.fromfile(str(ROOT / "configs" / f"{name}.py"))


def load(name: str) -> Config:
    return copy.deepcopy(read(name))


VARIANTS = [(base, prefix) for base, prefixes in PREFIXES.items() for prefix in prefixes]
TINY_CONFIGS = [variant(base, prefix, TINY) for base in PREFIXES for prefix in ("", *PREFIXES[base])]
FILES = sorted(path for base in PREFIXES for path in (ROOT / "configs" / base).parent.glob("*.py"))


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every leaf of nested dicts and lists; an empty one is a leaf."""
    if not isinstance(value, (dict, list)) or not value:
        yield path, value
        return
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield from flatten(child, f"{path}.{key}" if path else str(key))


def differences(a: dict, b: dict) -> set[str]:
    """Paths of leaves that differ, mmengine's marks of where a config came from aside."""
    first, second = ({path: value for path, value in flatten(cfg) if not path.endswith("_scope_")} for cfg in (a, b))
    missing = object()
    return {path for path in first | second if first.get(path, missing) != second.get(path, missing)}


def sections(cfg: Config, like: Config) -> dict:
    """The config without variables that only its base files use."""
    return {key: value for key, value in cfg.to_dict().items() if key in like}


def test_every_config_is_covered() -> None:
    names = {variant(base, prefix, suffix) for base, prefix in VARIANTS for suffix in (COCO, TINY)}
    names |= {variant(base, "", suffix) for base in PREFIXES for suffix in (COCO, TINY)}
    extra = {f"faster_rcnn/brs-faster-rcnn_{backbone}_fpn_ms-3x_coco" for backbone in ("r101", "r101-mdconv-c3-c5")}
    assert {f"{path.parent.name}/{path.stem}" for path in FILES} == names | extra


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_config_is_short_and_builds(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 40
    cfg = load(f"{path.parent.name}/{path.stem}")
    assert cfg.custom_imports.imports == ["brs_detr.registry"]
    if "coco" in path.stem:
        assert cfg.model.backbone.init_cfg.type == "PretrainedWeights"
        assert cfg.auto_scale_lr.base_batch_size == 16
        cfg.model.backbone.init_cfg = None
    with torch.device("meta"):  # shapes alone
        MODELS.build(cfg.model)


@pytest.mark.parametrize("base", PREFIXES)
def test_baseline_is_mmdets_own(base: str) -> None:
    own, theirs = load(variant(base, "", COCO)), get_config(f"mmdet::{base}_{COCO}.py")
    init_cfg = "backbone.init_cfg.type"
    explicit_default = "train_cfg.sampler.type"
    float32 = "roi_head.bbox_roi_extractor.type"
    assert differences(own.model.to_dict(), theirs.model.to_dict()) <= {init_cfg, explicit_default, float32}
    assert differences(own.optim_wrapper.to_dict(), theirs.optim_wrapper.to_dict()) == set()
    assert differences({"_": own.param_scheduler}, {"_": theirs.param_scheduler}) == set()


@pytest.mark.parametrize(("base", "prefix"), VARIANTS)
def test_tiny_variants_differ_in_the_loss_alone(base: str, prefix: str) -> None:
    baseline, ranking = load(variant(base, "", TINY)), load(variant(base, prefix, TINY))
    changed = differences(baseline.to_dict(), sections(ranking, baseline))
    assert changed
    assert not [path for path in changed if not LOSS_KEYS.match(path)]


@pytest.mark.parametrize(("base", "prefix"), VARIANTS)
def test_coco_variants_differ_in_the_published_recipe_alone(base: str, prefix: str) -> None:
    baseline, ranking = load(variant(base, "", COCO)), load(variant(base, prefix, COCO))
    changed = differences(baseline.to_dict(), sections(ranking, baseline))
    assert not [path for path in changed if not LOSS_KEYS.match(path) and not RECIPE_KEYS.match(path)]
    assert ranking.optim_wrapper.optimizer.lr == (0.012 if "rcnn" in base else 0.008)


@pytest.mark.parametrize("suffix", [COCO, TINY])
@pytest.mark.parametrize("base", PREFIXES)
def test_same_loss_summed_differently(base: str, suffix: str) -> None:
    pairs = [("rs", "brs", {"method"}), ("ap", "bap", {"method", "interpolated"})]
    for original, bucketed, allowed in pairs[: len(PREFIXES[base]) // 2]:
        a, b = (load(variant(base, prefix, suffix)) for prefix in (original, bucketed))
        changed = differences(a.to_dict(), b.to_dict())
        assert {path.rpartition(".")[2] for path in changed} == allowed


@pytest.mark.parametrize("name", TINY_CONFIGS)
def test_optimiser_steps(name: str) -> None:
    """Losses and gradients are finite with and without boxes, and, as DDP needs it, always the same ones."""
    torch.manual_seed(0)
    cfg = load(name)
    model = build_model(cfg)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    logged = []
    for num_boxes in ([3, 2], [3, 0], [0, 0]):
        model.zero_grad()
        logged.append(train_one_step(model, cfg, num_boxes))
        assert all(torch.isfinite(value).all() for value in logged[-1].values())
        for parameter_name, parameter in model.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name
    assert logged[0].keys() == logged[1].keys() == logged[2].keys()
    assert all(not torch.equal(before[key], value) for key, value in model.named_parameters())


@pytest.mark.parametrize("name", [name for name in TINY_CONFIGS if "/rs-" not in name and "ap-" not in name])
def test_single_image_equals_batched(name: str) -> None:
    torch.manual_seed(0)
    cfg = load(name)
    model = build_model(cfg).eval()
    batch = make_batch([2, 2], number_of_classes(cfg), size=(128, 160))
    batch["inputs"][1] = batch["inputs"][1].new_full(batch["inputs"][0].shape, 128)
    batch["data_samples"][1].set_metainfo(dict(img_shape=batch["data_samples"][0].img_shape))
    for head_cfg in (model.test_cfg, model.test_cfg.get("rcnn", {})):
        if "score_thr" in head_cfg:
            head_cfg["score_thr"] = 0.0
    with torch.no_grad():
        together = model.test_step(batch)
        alone = [model.test_step({key: value[i : i + 1] for key, value in batch.items()})[0] for i in range(2)]
    for a, b in zip(together, alone, strict=True):
        assert len(a.pred_instances) > 0
        torch.testing.assert_close(a.pred_instances.scores, b.pred_instances.scores, rtol=1e-4, atol=1e-5)
