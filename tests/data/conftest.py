"""Data that a test may spoil."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def data(digits: Path, tmp_path: Path) -> Path:
    """A copy of the small digits data set."""
    return Path(shutil.copytree(digits, tmp_path / "digits"))
