"""Operators for mmdet, the option for exhaustive tests, and a small data set."""

import functools
import gc
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["TRITON_INTERPRET"] = "1"  # kernels run on the CPU, also beside a GPU; Triton reads it when first imported

import brs_detr.registry  # noqa: F401  before any test imports mmdet.models: it supplies mmcv's operators

# isort: split
from mmdet.utils import register_all_modules
from mmengine.config import config as configs

from brs_detr import command_line
from brs_detr.data.digits import Parameters, build

register_all_modules()  # mmdet's scope, as its scripts set it

# mmengine spends more time on these than most tests do: layout of a config's text, at each start and each checkpoint,
# and a new look at all installed packages for each base of a config that is mmdet's.
vars(configs)["FormatCode"] = lambda text, **style: (text, True)
vars(configs)["is_installed"] = functools.cache(configs.is_installed)


def pytest_collection_finish() -> None:
    """mmengine collects garbage for each data set that it builds, and all that is imported stays."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="run the exhaustive tests too")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small digits data set: 8, 4 and 2 images of 64 pixels. Read only: copy it to change it."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    build(folder, Parameters(train=8, val=4, test=2, size=64))
    return folder


@pytest.fixture
def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def program(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Runs a command with arguments in this process: exit status, output, errors."""

    def run(command: str, *arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = 0
        try:
            command_line.run(command, [str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return run
