"""The toy detector's config and data, and the demo as a detector."""

from pathlib import Path

import pytest

from brs_detr import Detector
from brs_detr.data.digits import Parameters, build
from tests.engine.demo import CONFIG, LOW, save_checkpoint
from tests.engine.toy import write_toy_config
from tests.scripts.processes import write_config


@pytest.fixture(scope="session")
def toy_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    build(folder / "digits", Parameters(train=10, val=2, test=2, size=64))
    return write_toy_config(folder, folder / "digits")


@pytest.fixture(scope="session")
def demo_config(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """The demo's config, on the small data set."""
    return write_config(tmp_path_factory.mktemp("demo"), digits, CONFIG)


@pytest.fixture(scope="session")
def demo_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's weights, whose scores are as the model gives them."""
    return save_checkpoint(tmp_path_factory.mktemp("raw") / "raw.pth", None)


@pytest.fixture(scope="session")
def demo_detector(demo_config: Path, demo_weights: Path) -> Detector:
    return Detector(demo_config, demo_weights, device="cpu", threshold=LOW)


@pytest.fixture(scope="session")
def digit_images(digits: Path) -> list[Path]:
    return sorted((digits / "val").glob("*.png"))
