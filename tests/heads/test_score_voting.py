"""PAA's predictions are finite, whatever a batch pads."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from tests.configs.test_configs import build_model
from tests.reference import ROOT
from tests.samples import make_batch

CONFIGS = [ROOT / "configs" / "paa" / f"{name}_tiny_digits.py" for name in ("paa", "brs-paa")]


def together(first: dict, second: dict) -> dict:
    return {name: [*first[name], *second[name]] for name in first}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_boxes_without_area_get_no_vote(path: Path) -> None:
    """Anchors in the padding, clipped to their image, have none."""
    config = Config.fromfile(str(path))
    config.model.test_cfg.score_thr = 0.0
    torch.manual_seed(0)
    model = build_model(config).eval()
    for layer in (model.bbox_head.atss_cls, model.bbox_head.atss_reg):
        nn.init.normal_(layer.weight, std=1.0)
    batch = together(make_batch([1], 10, size=(160, 64)), make_batch([1], 10, size=(64, 160)))
    with torch.no_grad():
        found = [each.pred_instances for each in model.test_step(batch)]
    assert all(len(each) for each in found)
    assert all(torch.isfinite(each.bboxes).all() for each in found)
    assert all((each.bboxes[:, 2:] > each.bboxes[:, :2]).all() for each in found)
