"""Ranges in pyproject.toml, tested pins in requirements.txt: the same packages, every pin inside its range."""

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import brs_detr
from tests.packaging.environments import ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")


def disagreements(ranges: list[str], pins: list[str]) -> list[str]:
    """What is in one list only, or pinned outside of its range."""
    allowed = {canonicalize_name(Requirement(line).name): Requirement(line).specifier for line in ranges}
    pinned = [Requirement(line) for line in pins]
    found = [f"only in one: {name}" for name in allowed.keys() ^ {canonicalize_name(pin.name) for pin in pinned}]
    return found + [
        f"outside of the range: {pin}"
        for pin in pinned
        for version in pin.specifier
        if canonicalize_name(pin.name) in allowed and version.version not in allowed[canonicalize_name(pin.name)]
    ]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_pins_and_ranges_agree() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    ranges = [*project()["dependencies"], *project()["optional-dependencies"]["detector"]]
    assert not disagreements(ranges, [line for line in lines if line])


def test_a_disagreement_is_found() -> None:
    assert disagreements(["torch>=2,<3"], ["torch==3.1"]) == ["outside of the range: torch==3.1"]
    assert disagreements(["torch>=2,<3"], []) == disagreements([], ["torch==2.1"]) == ["only in one: torch"]
    assert not disagreements(["OpenCV_python>=4"], ["opencv-python==5.0.0.93"])


def test_torch_is_all_that_the_losses_need() -> None:
    assert [Requirement(line).name for line in project()["dependencies"]] == ["torch"]


def test_the_version_stands_in_one_place() -> None:
    assert "version" in project()["dynamic"]
    assert f"\n## [{brs_detr.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
