"""The toy detector's config and data."""

from pathlib import Path

import pytest

from brs_detr.data.digits import Parameters, build
from tests.engine.toy import write_toy_config


@pytest.fixture(scope="session")
def toy_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    build(folder / "digits", Parameters(train=10, val=2, test=2, size=64))
    return write_toy_config(folder, folder / "digits")
