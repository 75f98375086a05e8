"""What importing the package brings, and what a Detector leaves behind in its program."""

import subprocess
import sys

import pytest

import brs_detr
from tests.reference import ROOT
from tests.scripts.processes import environment

NOTHING = """
import sys
before = set(sys.modules)
import brs_detr
assert not {"torch", "mmdet", "mmengine", "numpy"} & (set(sys.modules) - before)
assert "Detector" in dir(brs_detr)
import brs_detr.losses
assert not {"mmdet", "mmengine", "mmcv", "cv2"} & set(sys.modules)
"""

DETECTOR = """
import logging
import sys
import warnings
from brs_detr import Detections, Detector
import numpy as np
import torch
from mmengine.registry import DefaultScope

def state():
    return (list(warnings.filters), list(logging.root.handlers), logging.root.level, torch.is_grad_enabled(),
            torch.get_num_threads(), torch.get_rng_state().tolist(), dict(DefaultScope._instance_dict))

before = state()
detector = Detector(sys.argv[1], sys.argv[2], device="cpu", threshold=0.0)
assert state() == before
found = detector(np.random.RandomState(0).randint(0, 256, (60, 80, 3), np.uint8))
assert isinstance(found, Detections) and len(found) > 5
assert state() == before
"""

ABSENT = """
import sys
sys.modules["mmengine"] = None
try:
    from brs_detr import Detector
except ImportError as error:
    print(error)
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, env=environment(), capture_output=True, text=True
    )


def test_importing_brings_nothing() -> None:
    assert python(NOTHING).stderr == ""


def test_a_detector_leaves_its_program_as_it_was() -> None:
    config = ROOT / "configs" / "brs_detr" / "brs-detr_tiny_digits.py"
    assert python(DETECTOR, config, ROOT / "checkpoints" / "demo" / "brs-detr_tiny_digits.pth").stderr == ""


def test_without_the_packages_that_it_needs() -> None:
    assert python(ABSENT).stdout == ('mmengine is not installed, which Detector needs: `pip install ".[detector]"`.\n')


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'brs_detr' has no attribute 'Detectors'"):
        _ = brs_detr.Detectors
