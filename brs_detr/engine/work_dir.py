"""The folder of a training: never written over unless asked."""

import re
import shutil
import zipfile
from pathlib import Path

from brs_detr.errors import InputError

WRITTEN_BY_TRAINING = re.compile(
    r"last_checkpoint|(epoch|iter|best)_.*\.pth|curves\.png|training\.json|metrics\.json|\d{8}_\d{6}"
)


def remove_training(folder: Path) -> None:
    """Remove what a training wrote, and nothing else."""
    for path in folder.iterdir():
        if WRITTEN_BY_TRAINING.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def claim(folder: str | Path, *, resume: bool, overwrite: bool) -> None:
    """Make sure that a training may write here.

    Raises:
        InputError: the folder has content, and neither resume nor overwrite was asked for.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"The work directory {folder} is a file: choose another --work-dir.")
    if not folder.exists() or not any(folder.iterdir()) or resume:
        return
    if not overwrite:
        raise InputError(
            f"The work directory {folder} is not empty: continue its training with --resume, choose another "
            "--work-dir, or discard its checkpoints and logs with --overwrite."
        )
    remove_training(folder)


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The last whole checkpoint of a training, None where there is none."""
    folder = Path(folder)
    record = folder / "last_checkpoint"
    recorded = [folder / Path(record.read_text().strip()).name] if record.is_file() else []
    saved = [*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth")]
    by_age = sorted(saved, key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in recorded + by_age if zipfile.is_zipfile(path)), None)
