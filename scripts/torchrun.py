"""torch's launcher of several processes: arguments are those of torchrun."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the project

from torch.distributed import run

from brs_detr import launcher
from brs_detr.errors import ends_with_a_sentence


@ends_with_a_sentence
def main() -> None:
    launcher.register()
    run.main()


if __name__ == "__main__":
    main()
