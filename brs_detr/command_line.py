"""The command `brs-detr`, also behind scripts/*.py.

It imports nothing but the standard library before a command is chosen: an installation of the losses alone has the
command, too, and it then says what to install.
"""

import argparse
import importlib.util
import sys
from types import ModuleType

from brs_detr.endings import ends_with_a_sentence
from brs_detr.errors import InputError
from brs_detr.version import __version__

COMMANDS = {
    "train": "train a config",
    "test": "evaluate a checkpoint",
    "calibrate": "let a checkpoint's scores say how many detections are right",
    "predict": "detect objects in images",
    "report": "one page on what a model gets right and wrong",
    "time-loss": "time the losses of a training step",
    "convert": "rewrite a published checkpoint in this project's names",
    "export": "write a trained model as a file of ONNX",
    "check-data": "look at data before training on them",
}
DETECTOR_PACKAGES = ("mmdet", "mmengine", "mmcv", "torchvision")  # of which the losses alone have none


def import_commands() -> ModuleType:
    """The module of the commands.

    Raises:
        InputError: the packages of the extra ``detector`` are not installed.
    """
    missing = [name for name in DETECTOR_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f'{missing[0]} is not installed: the commands need more than the losses, `pip install ".[detector]"`.'
        )
    return importlib.import_module("brs_detr.engine.commands")


def run(command: str, arguments: list[str] | None = None, program: str | None = None) -> None:
    """Run one of COMMANDS; its arguments are those of the process unless given, like the program's name."""
    with ends_with_a_sentence(arguments):
        import_commands().run(command, arguments, program)


def main() -> None:
    """Entry point of ``brs-detr COMMAND ...``."""
    summaries = "\n".join(f"  {name:10} {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="brs-detr",
        description="Detectors that learn by ranking.",
        epilog=f"commands:\n{summaries}\n\nbrs-detr COMMAND --help lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="followed by its own arguments")
    command = parser.parse_args(sys.argv[1:2]).command  # what follows is for the command's parser
    run(command, sys.argv[2:], f"brs-detr {command}")


if __name__ == "__main__":
    main()
