"""The folder of a training: never written over unless asked."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from brs_detr.errors import InputError
from brs_detr.files import check_destination, write_text

LAST = "last_checkpoint"  # mmengine's note: names the checkpoint that was written before it
INTERIM = "interim.pth"  # stands until a later checkpoint is written
WRITTEN_BY_TRAINING = re.compile(
    r"last_checkpoint|interim\.pth|(epoch|iter|best)_.*\.pth|(curves|reliability)\.png|(training|metrics)\.json"
    r"|\d{8}_\d{6}"
)

CONVERTED = "data"  # the folder of annotations that are converted for a training, before it claims its directory


def written_by_training(folder: Path) -> list[Path]:
    """What a training wrote, and nothing else."""
    return [path for path in folder.iterdir() if WRITTEN_BY_TRAINING.fullmatch(path.name)]


def check_unused(outdated: list[Path], needed: Iterable[str]) -> None:
    """Raises InputError if one of the files and folders to be removed is, or holds, a file that is yet to be read."""
    real = {os.path.realpath(name): name for name in needed if name and "\0" not in name}
    for path in outdated:
        for place, name in real.items():
            if Path(place).is_relative_to(path.resolve()):
                raise InputError(
                    f"--overwrite would remove {name}, which this training is to read: move it elsewhere, or choose "
                    "another --work-dir."
                )


def claim(folder: str | Path, *, resume: bool, overwrite: bool, needed: Iterable[str] = ()) -> None:
    """Make sure that a training may write here.

    needed: names of files, such as the checkpoint to load, that must not be discarded.

    Raises:
        InputError: the folder has content, and neither resume nor overwrite was asked for; or it cannot be written to.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"The work directory {folder} is a file: choose another --work-dir.")
    check_destination(folder / LAST)
    if resume or not folder.exists() or all(entry.name == CONVERTED for entry in folder.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"The work directory {folder} is not empty: continue its training with --resume, choose another "
            "--work-dir, or discard its checkpoints and logs with --overwrite."
        )
    outdated = written_by_training(folder)
    check_unused(outdated, needed)
    for path in outdated:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def checkpoints(folder: str | Path) -> list[Path]:
    """Checkpoints of a training that may be continued, by the times of their files, the newest first.

    Those of a config that names them in its own way, or puts them elsewhere, are found by the note alone.
    """
    saved = [path for pattern in (INTERIM, "epoch_*.pth", "iter_*.pth") for path in Path(folder).glob(pattern)]
    saved += [path for path in [noted(folder)] if path and path not in saved]
    return sorted(saved, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def noted(folder: str | Path) -> Path | None:
    """The checkpoint that ``last_checkpoint`` names, in this folder if it was moved or copied; None if it is gone."""
    if not Path(folder, LAST).is_file():
        return None
    written = Path(folder, LAST).read_text(errors="replace").strip()
    places = Path(folder, os.path.basename(written)), Path(written)
    return next((place for place in places if os.path.isfile(place)), None)


def note(folder: str | Path, path: Path) -> None:
    """Note the checkpoint that was written last; it takes the place of the interim one if that was written before."""
    write_text(Path(folder, LAST), str(path))
    remove_outdated_interim(folder, path)


def remove_outdated_interim(folder: str | Path, later: Path) -> None:
    """Remove the interim checkpoint if it was written before another one."""
    interim = Path(folder, INTERIM)
    if not (interim.is_file() and later.is_file()) or interim.samefile(later):
        return
    if interim.stat().st_mtime_ns <= later.stat().st_mtime_ns:
        interim.unlink()
