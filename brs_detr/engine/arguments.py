"""Command-line options that several scripts share."""

import argparse
import os
from collections.abc import Sequence
from typing import Any, NoReturn

from mmengine.config import DictAction

from brs_detr.endings import REFUSED
from brs_detr.engine.running.distributed import LAUNCHERS


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is printed once for all processes, which were given the same arguments."""

    def error(self, message: str) -> NoReturn:
        if os.environ.get("RANK", "0") != "0":
            raise SystemExit(REFUSED)
        super().error(message)


class KeyValue(DictAction):
    """``key=value ...`` pairs, whose misspelling ends with the usage."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError):
            parser.error(f"{option_string} takes key=value pairs, not {values}")


def seed(text: str) -> int:
    """A seed of NumPy's random numbers, which mmengine sets, too."""
    if not (text.isdecimal() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 0 to {2**32 - 1}")
    return int(text)


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file, brs_detr::NAME of one of the package, or a work directory")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=KeyValue,
        metavar="KEY=VALUE",
        help="change entries of the config, such as train_dataloader.batch_size=2",
    )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", nargs="?", help="by default the best of the work directory, else its last")


def add_launcher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="what started the processes")
    # torch's older launchers pass it; the environment says the same
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)
