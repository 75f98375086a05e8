"""Files that appear whole or not at all, whatever kills the program; and what is wrong with one of YAML."""

import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from brs_detr.errors import InputError

LAST = "last_checkpoint"  # in a training's work directory, mmengine's note of the checkpoint that was written before it
LOCK = ".brs_detr.lock"  # which the training that is going on there has locked; a kill leaves the file, unlocked
LOGS = re.compile(r"\d{8}_\d{6}")  # its folders there, of each start one
LONGEST = 255 - len(".-01234567")  # bytes of a name to which a temporary one adds these


def check_destination(path: str | Path) -> None:
    """Look beforehand whether a file can be written; its folder may be missing.

    Raises:
        InputError: it is a folder or a device, lies below a file, or its folder is not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file.")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a device or a pipe, whose place no file may take: give the name of a file.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{path} cannot be written, for {folder} is a file: choose another place.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written, for {folder} is read-only: choose another place.")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A new empty file beside `path` to write to, which takes its place on success and is removed otherwise.

    Its permissions are those of any new file, as the umask has them. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{_shortened(path.name)}-{secrets.token_hex(4)}")
    try:
        temporary.touch(exist_ok=False)  # unlike tempfile's, which only their owner may read
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors puts a private file of its own in its place
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        fault = error if isinstance(error, OSError) else error.__context__
        if isinstance(fault, OSError) and fault.errno and fault.filename in (None, str(temporary)):
            fault.filename = str(path)  # a full disk names no file, and the temporary one says nothing to a user
        raise


def _shortened(name: str) -> str:
    """The name without its end, where a file system has no room for what a temporary name adds to it."""
    return os.fsencode(name)[:LONGEST].decode(errors="ignore")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write a whole file in UTF-8, line ends as they are."""
    write_bytes(path, content.encode())


def write_json(path: str | Path, content: Any, indent: int = 2) -> None:
    """Write a whole file of valid JSON, which knows neither NaN nor infinity: these become null."""
    write_text(path, json.dumps(_without_nan(content), indent=indent, allow_nan=False) + "\n")


def yaml_problem(error: Exception) -> str:
    """What PyYAML says of a file, and of which line."""
    what, mark = getattr(error, "problem", None) or error, getattr(error, "problem_mark", None)
    return f"{what}, line {mark.line + 1}" if mark else str(what)


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
