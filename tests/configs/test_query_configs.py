"""DINO and DDQ-DETR: the baselines are mmdet's own, and ranking changes nothing but the loss."""

import re

import pytest
from mmengine.hub import get_config

from tests.configs.test_classical_configs import differences, load
from tests.reference import ROOT

MMDET = {
    "dino/{}dino-4scale": "dino/dino-4scale_r50_8xb2-12e_coco",
    "ddq/{}ddq-detr-4scale": "ddq/ddq-detr-4scale_r50_8xb2-12e_coco",
}
SUFFIXES = ("r50_1x_coco", "tiny_digits")
LOSS_KEYS = re.compile(r"model\.bbox_head\.(type|balance_boxes|loss_cls\..*)$|ranking_queries\..*")
SAME_EFFECT = {  # other words for the same: attention without dropout, weights of the same file, the same matches
    "backbone.init_cfg.type",
    "decoder.layer_cfg.self_attn_cfg.attn_drop",
    "decoder.layer_cfg.self_attn_cfg.dropout",
    "train_cfg.assigner.type",
}


def test_the_folders_are_complete() -> None:
    found = {f"{path.parent.name}/{path.stem}" for d in ("dino", "ddq") for path in (ROOT / "configs" / d).glob("*.py")}
    assert found == {f"{base.format(prefix)}_{s}" for base in MMDET for prefix in ("", "brs-") for s in SUFFIXES}


@pytest.mark.parametrize("base", MMDET)
def test_baseline_is_mmdets_own(base: str) -> None:
    own, theirs = load(f"{base.format('')}_r50_1x_coco"), get_config(f"mmdet::{MMDET[base]}.py")
    assert differences(own.model.to_dict(), theirs.model.to_dict()) == SAME_EFFECT
    assert differences(own.optim_wrapper.to_dict(), theirs.optim_wrapper.to_dict()) == {
        "optimizer.type",
        "optimizer.fused",
    }
    assert differences({"_": own.param_scheduler}, {"_": theirs.param_scheduler}) == set()
    assert own.train_dataloader.batch_size == theirs.train_dataloader.batch_size
    assert own.auto_scale_lr.base_batch_size == theirs.auto_scale_lr.base_batch_size


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("base", MMDET)
def test_ranking_variants_differ_in_the_loss_alone(base: str, suffix: str) -> None:
    baseline, ranking = (load(f"{base.format(prefix)}_{suffix}").to_dict() for prefix in ("", "brs-"))
    changed = differences(baseline, ranking)
    assert changed
    assert not [path for path in changed if not LOSS_KEYS.match(path)]
    assert ranking["model"]["bbox_head"]["type"].startswith("Ranking")
