"""What importing the package brings."""

import subprocess
import sys

import pytest

import brs_detr
from tests.reference import ROOT

NOTHING = """
import sys
before = set(sys.modules)
import brs_detr
assert not {"torch", "mmdet", "mmengine", "numpy"} & (set(sys.modules) - before)
assert {"Detector", "Detections", "__version__"} <= set(dir(brs_detr))
"""

ABSENT = """
import sys
sys.modules["torch"] = None
try:
    from brs_detr import Detector
except ImportError as error:
    print(error)
"""


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_importing_brings_nothing() -> None:
    assert python(NOTHING).stderr == ""


def test_without_the_packages_that_it_needs() -> None:
    assert python(ABSENT).stdout == 'torch is not installed, which Detector needs: `pip install ".[detector]"`.\n'


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="module 'brs_detr' has no attribute 'Detectors'"):
        _ = brs_detr.Detectors
