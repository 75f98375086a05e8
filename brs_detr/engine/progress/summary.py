"""A few lines about a finished work directory: AP, time, where to look.

python -m brs_detr.engine.progress.summary work_dirs/quickstart
"""

import argparse
import json
from pathlib import Path
from typing import Any

from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.engine.progress.metrics import ap_labels
from brs_detr.errors import InputError

CONTENTS = {
    "metrics.json": "all metrics",
    "report.html": "one page on what it gets right and wrong: open it in a browser",
    "curves.png": "losses and AP while training",
    "reliability.png": "which share of the detections of a score is right",
    "predictions": "pictures of held-out images, ground truth beside them",
    "best_*.pth": "the best checkpoint",
    "*/*.log": "the log of the training",
}


def read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: has the run finished?") from error


def summary(folder: Path) -> str:
    """The summary of a work directory that holds ``metrics.json`` and ``training.json``."""
    metrics, training = read(folder / "metrics.json"), read(folder / "training.json")
    labels = ap_labels(metrics) or {name: name for name in metrics}
    lines = [
        ", ".join(f"{label} {metrics[name]:.3f}" for name, label in labels.items() if metrics[name] is not None)
        or "no metrics",
        f"trained {training['epochs']} epochs in {training['seconds']:.0f} seconds, "
        f"{training['peak_memory_gb']:.1f} GB of memory",
    ]
    for pattern, meaning in CONTENTS.items():
        lines += [f"{path}  {meaning}" for path in sorted(folder.glob(pattern))[:1]]
    return "\n".join(lines)


@ends_with_a_sentence()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    add_debug(parser)
    print(summary(parser.parse_args().folder))


if __name__ == "__main__":
    main()
