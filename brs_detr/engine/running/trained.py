"""A work directory in place of a config and a checkpoint."""

import json
import zipfile
from contextlib import suppress
from pathlib import Path

from brs_detr.engine.running.work_dir import checkpoints, written_at
from brs_detr.errors import InputError

CONFIGS = ("*.py", "*.yaml", "*.yml")  # as mmengine leaves them there, and *.json
ENTRIES = {"model", "_base_"}  # of which a config has one


def config_in(folder: Path) -> Path:
    """The config that a training left in its work directory.

    Raises:
        InputError: there is none, or more than one.
    """
    found = sorted(path for pattern in CONFIGS for path in folder.glob(pattern))
    found = found or sorted(filter(_is_json_config, folder.glob("*.json")))
    if not found:
        raise InputError(f"The folder {folder} holds no config, as a training leaves one: give a CONFIG.")
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputError(f"The work directory {folder} holds {names}: give CONFIG and CHECKPOINT instead.")
    return found[0]


def _is_json_config(path: Path) -> bool:
    """Metrics and predictions are JSON, too."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_bytes())
        return isinstance(content, dict) and not ENTRIES.isdisjoint(content)
    return False


def checkpoint_in(folder: Path) -> Path:
    """The best checkpoint of a work directory, else the last; those that are cut short are passed over.

    Raises:
        InputError: there is none.
    """
    best = sorted(folder.glob("best_*.pth"), key=written_at, reverse=True)
    every = [*best, *checkpoints(folder)]
    found = next(filter(zipfile.is_zipfile, every), None)
    if found is None and every:
        raise InputError(f"{every[0]} is damaged, as is every checkpoint beside it: copy it again, or train anew.")
    if found is None:
        raise InputError(
            f"The work directory {folder} holds no checkpoint (best_*.pth, epoch_*.pth): train until the first is "
            "saved, or give a CHECKPOINT."
        )
    return found


def checkpoint_of(config: str, checkpoint: str | None) -> str:
    """The checkpoint that is given, else that of the work directory which is given as config.

    Raises:
        InputError: there is none.
    """
    if checkpoint is not None:
        return checkpoint
    if not Path(config).exists() and not Path(config).suffix:
        raise InputError(f"There is no work directory {config}: correct its name, or give a CONFIG and a CHECKPOINT.")
    if not Path(config).is_dir():
        raise InputError(f"A CHECKPOINT goes with {config}: only a work directory may stand alone.")
    return str(checkpoint_in(Path(config)))
