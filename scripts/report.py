"""Write a page on what a model gets right and wrong: `--help` lists the options."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the project

from brs_detr.command_line import run


def main() -> None:
    run("report")


if __name__ == "__main__":
    main()
