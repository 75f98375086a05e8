"""The folder of a training: one training's at a time, and never written over unless asked."""

import errno
import fcntl
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from brs_detr.errors import InputError
from brs_detr.files import LAST, LOCK, LOGS, check_destination, write_text

INTERIM = "interim.pth"  # stands until a later checkpoint is written
WRITTEN_BY_TRAINING = re.compile(
    r"last_checkpoint|interim\.pth|(epoch|iter|best)_.*\.pth|(curves|reliability)\.png|(training|metrics)\.json"
    r"|\d{8}_\d{6}"
)

CONVERTED = "data"  # the folder of annotations that are converted for a training, before it claims its directory


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep other trainings out of a folder. It is made if need be, and removed where an error leaves it empty.

    The lock is POSIX's: it belongs to this process, not to its loaders' workers, and ends with it, however it ends.

    Raises:
        InputError: another process trains here, or the folder cannot be written to.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"The work directory {folder} is a file: choose another --work-dir.")
    check_destination(folder / LAST)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / LOCK).open("a+") as file:
            _lock(file, folder)
            try:
                yield
            finally:
                (folder / LOCK).unlink(missing_ok=True)
    except BaseException:
        with suppress(OSError):  # something is in it
            for each in made:
                each.rmdir()
        raise


def _lock(file: IO[str], folder: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), os.stat(folder / LOCK)):  # removed since it was opened
            raise BlockingIOError(errno.EAGAIN, "")
    except (BlockingIOError, FileNotFoundError, PermissionError):
        file.seek(0)
        raise InputError(
            f"Another training ({file.read(200) or 'just started or ended'}) writes to the work directory {folder}: "
            "wait for it, stop it, or choose another --work-dir."
        ) from None
    except OSError:  # some network disks have no locks
        return
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()


def came_to_nothing(folder: Path) -> bool:
    """Whether all that is here are configs and logs of starts that have not logged a loss."""
    passed = {CONVERTED, LOCK, *(path.name for path in dumped_configs(folder))}
    if any(folder.glob("*/vis_data/scalars.json")):
        return False
    return all(path.name in passed or LOGS.fullmatch(path.name) for path in folder.iterdir())


def written_by_training(folder: Path) -> list[Path]:
    """What a training wrote, and nothing else; its config is known by its log, see `dumped_configs`."""
    return [path for path in folder.iterdir() if WRITTEN_BY_TRAINING.fullmatch(path.name)]


def dumped_configs(folder: Path) -> list[Path]:
    """The configs that trainings have left here, and nobody has changed: their logs hold the same."""
    logged = [each / "vis_data" / "config.py" for each in folder.iterdir() if LOGS.fullmatch(each.name)]
    contents = {each.read_bytes() for each in logged if each.is_file()}
    return [path for path in folder.glob("*.py") if path.read_bytes() in contents]


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


def claim(
    folder: str | Path, *, resume: bool, overwrite: bool, needed: Iterable[str] = (), config: str | None = None
) -> list[Path]:
    """Make sure that a training may write here, into a folder that it has locked.

    needed: names of files, such as the checkpoint to load, that must not be discarded.
    config: the training's own, which it writes again under this name.

    Returns:
        What is to be discarded, once the training can begin: whatever ends it earlier costs nothing then.

    Raises:
        InputError: the folder has content, and neither resume nor overwrite was asked for. The logs of starts that came
            to nothing are none.
    """
    folder = Path(folder)
    if resume or not folder.exists():
        return []
    outdated = [path for path in dumped_configs(folder) if path.name != os.path.basename(config or "")]
    if overwrite:
        outdated += written_by_training(folder)
    elif not came_to_nothing(folder):
        raise InputError(
            f"The work directory {folder} is not empty: continue its training with --resume, choose another "
            "--work-dir, or discard its checkpoints and logs with --overwrite."
        )
    check_unused(outdated, needed)
    return outdated


def discard(outdated: Iterable[Path]) -> None:
    """Remove files and folders."""
    for path in outdated:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def checkpoints(folder: str | Path) -> list[Path]:
    """Checkpoints of a training that may be continued, by the times of their files, the newest first.

    Those of a config that names them in its own way, or puts them elsewhere, are found by the note alone. Links that
    lead nowhere are among them, so that whoever reads one may say so.
    """
    saved = [path for pattern in (INTERIM, "epoch_*.pth", "iter_*.pth") for path in Path(folder).glob(pattern)]
    saved += [path for path in [noted(folder)] if path and path not in saved]
    return sorted(saved, key=written_at, reverse=True)


def written_at(path: Path) -> int:
    """When a file was written, or a link that leads nowhere."""
    return (path.stat() if path.exists() else path.lstat()).st_mtime_ns


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
