"""The demo's weights for tests of prediction, and the comparison of detections."""

from pathlib import Path

import numpy as np
import torch

from brs_detr import Detections
from brs_detr.data.calibration import KEY, Calibration
from brs_detr.weights import read_checkpoint
from tests.reference import ROOT

DEMO = ROOT / "checkpoints" / "demo" / "brs-detr_quickstart_digits.pth"
CONFIG = ROOT / "configs" / "brs_detr" / "brs-detr_quickstart_digits.py"
LOW = 0.03  # of its scores, which are low as the model gives them


def save_checkpoint(path: Path, calibration: Calibration | None) -> Path:
    """The demo's weights, with this calibration or none."""
    content = {name: value for name, value in read_checkpoint(DEMO).items() if name != KEY}
    torch.save(content | ({KEY: calibration.as_dict()} if calibration else {}), path)
    return path


def assert_same(ours: Detections, others: Detections, tolerance: float = 1e-3) -> None:
    assert ours.labels.tolist() == others.labels.tolist()
    assert np.abs(ours.boxes - others.boxes).max(initial=0) < tolerance
    assert np.abs(ours.scores - others.scores).max(initial=0) < tolerance
