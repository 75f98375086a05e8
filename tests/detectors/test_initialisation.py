"""A fresh model starts like the released one: the same distribution for every parameter."""

import json
import math

import pytest
import torch
from mmengine.config import Config

from brs_detr.weights.formats import rename
from tests.reference import REFERENCE, ROOT, build, needs_reference

FEW = 8  # numbers whose mean and deviation say nothing


@needs_reference
def test_statistics_of_every_parameter() -> None:
    """Mean and standard deviation of each recorded parameter, within six standard errors of their difference."""
    torch.manual_seed(0)
    cfg = Config.fromfile(str(ROOT / "configs" / "_base_" / "models" / "co_deformable_detr_r50.py"))
    cfg.model.backbone.init_cfg = None
    model = build(cfg)
    model.init_weights()
    parameters = dict(model.named_parameters())
    recorded = json.loads((REFERENCE / "init_stats_co_deformable_detr_r50.json").read_text())
    heads = {name: stats for name, stats in recorded.items() if not name.startswith("backbone.")}
    assert len(heads) > 300
    for name, (mean, std, *_) in heads.items():
        values = parameters[rename(name)].detach().double()
        if values.numel() < FEW and std > 0:
            continue
        error = std / math.sqrt(values.numel())
        assert float(values.mean()) == pytest.approx(mean, abs=6 * math.sqrt(2) * error + 1e-6), name
        assert float(values.std(unbiased=False)) == pytest.approx(std, abs=6 * error + 0.02 * std + 1e-6), name
