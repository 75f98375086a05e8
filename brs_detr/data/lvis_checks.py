"""LVIS is read and evaluated by its authors' package, which must be there before an epoch has been spent."""

import importlib.util
import re
from pathlib import Path

from brs_detr.errors import InputError

REMEDY = "run `pip install git+https://github.com/lvis-dataset/lvis-api.git`."


def check_lvis() -> None:
    """Look for the package without importing it.

    Raises:
        InputError: it is missing, or is the release that fails with NumPy 1.24 and later when it evaluates.
    """
    spec = importlib.util.find_spec("lvis")
    if spec is None or spec.origin is None:
        raise InputError(f"LVIS data need the package lvis: {REMEDY}")
    evaluation = Path(spec.origin).with_name("eval.py")
    if evaluation.exists() and re.search(r"\bnp\.float\b", evaluation.read_text()):
        raise InputError(f"The package lvis in {evaluation.parent} is too old for today's NumPy: {REMEDY}")
