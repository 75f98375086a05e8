"""With the released behaviours switched on, BRS-DETR is the released BRS-DETR: same losses and gradients."""

import pytest

from tests.detectors.recorded_training import gradient_norms, released_name, replay, total
from tests.reference import build, load_reader, needs_reference, tiny_config

pytestmark = needs_reference


def released_brs_name(name: str) -> str:
    return released_name(name.replace("roi.loss_", "roi.loss_roi_"))


def test_training_step() -> None:
    """All losses to 1e-4 and, by group of parameters, gradient norms to 1e-3, relative."""
    log, arrays = load_reader().train_step("brs_detr")
    model = build(tiny_config("brs_detr_r50_released"), load_reader().tiny_state("brs_detr"))
    losses = replay(model, arrays)
    named = {released_brs_name(name): float(value.detach()) for name, value in losses.items() if "loss" in name}
    assert named == pytest.approx(log["losses"], rel=1e-4)
    loss = total(losses)
    assert float(loss.detach()) == pytest.approx(log["total"], rel=1e-4)
    loss.backward()
    assert gradient_norms(model, log["grad_norm_groups"]) == pytest.approx(log["grad_norm_groups"], rel=1e-3)
