"""Mistakes in a config as sentences: mmengine and mmdet raise almost anything, in the midst of their own code.

Whose mistake it was is told by the functions that an error has passed: those that read a config, and those that build
an object from one of its entries.
"""

import argparse
import inspect
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.config import config as mmengine_config
from mmengine.config import lazy as mmengine_lazy
from mmengine.optim.optimizer import default_constructor
from mmengine.registry import OPTIMIZERS, Registry, build_functions
from mmengine.runner import runner as mmengine_runner
from torch import nn

from brs_detr.causes import cause_of, name_of
from brs_detr.data import checks as data_checks
from brs_detr.engine.setup.config_values import NotValuesError
from brs_detr.engine.setup.spelling import nearest
from brs_detr.errors import InputError

READERS = {"fromfile", "_file2dict", "_is_lazy_import", "_parse_lazy_import"}  # with a local variable `filename`
UNKNOWN_PACKAGE = "_get_package_and_cfg_path"  # how mmengine begins its message
MISSING = re.compile(r'file "(.*)" does not exist')
NO_ENTRY = re.compile(r"'Config(?:Dict)?' object has no attribute '(\w+)'")
UNKNOWN_TYPE = re.compile(r"([\w.]+) is not in the .+? registry")
MISFIT = re.compile(
    r"Given (groups|normalized_shape|weight)|mat1 and mat2|size of tensor .* must match|is invalid for input"
)
USERS = {data_checks.__file__, *(str(Path(__file__).with_name(name)) for name in ("config.py", "work_dir.py"))}
UNKNOWN_ARGUMENT = re.compile(r"unexpected keyword argument '(\w+)'")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Surround the reading of a config and of its bases.

    Raises:
        InputError: in place of any error but those of the system.
    """
    try:
        yield
    except NotValuesError as error:
        raise InputError(f"The config {(_files_read(error) or [str(path)])[-1]} {error}.") from error
    except (InputError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # a config is a program, and may call sys.exit
        if isinstance(error, OSError) and error.errno and not isinstance(error, FileNotFoundError):
            raise
        chain = _files_read(error) or [str(path)]
        raise InputError(_reading_fault(error, chain)) from error


def _files_read(error: BaseException) -> list[str]:
    """The config and its bases down to the one that was being read."""
    names = [
        frame.f_locals["filename"]
        for frame in _frames(error)
        if _is_in(frame, mmengine_config) and frame.f_code.co_name in READERS and "filename" in frame.f_locals
    ]
    return list(dict.fromkeys(map(str, names)))


def _reading_fault(error: BaseException, chain: list[str]) -> str:
    """chain: the config and its bases, down to the one that is at fault."""
    config = f"The config {chain[-1]}"
    if line := next((line for frame, line in reversed(_lines(error)) if frame.f_code.co_filename in chain), None):
        return f"{config} fails in line {line}: {name_of(error)}."
    if isinstance(error, SyntaxError):
        return f"{config} has a syntax error in line {error.lineno or 1}: {error.msg.rstrip('.?')}."
    if isinstance(error, FileNotFoundError):
        missing = MISSING.search(str(error))
        *above, last = chain
        absent, by = (missing[1], last) if missing else (last, above[-1] if above else last)
        return f"The config {by} is based on {absent}, which does not exist: correct its _base_."
    if isinstance(error, RecursionError):
        return f"{config} is based on itself: correct its _base_."
    if UNKNOWN_PACKAGE in str(error):
        return f"{config} is based on a config of a package that is not known here: correct its _base_."
    if isinstance(error, UnicodeDecodeError):
        return f"{config} is no text in UTF-8: save it as such."
    if isinstance(error, ImportError) and error.__cause__:
        return f"{config} imports what is not there, by custom_imports: {error.__cause__}."
    if isinstance(error, AttributeError) and not chain[-1].endswith(".py"):
        return f"{config} is no mapping of names to values at its top level."
    return f"{config} cannot be read: {name_of(error)}."


@contextmanager
def merging(config: str, options: dict[str, Any]) -> Iterator[None]:
    """Surround the merging of the command line's options.

    Raises:
        InputError: in place of any error.
    """
    try:
        yield
    except Exception as error:
        named = ", ".join(options)
        raise InputError(f"--cfg-options {named} cannot be merged into {config}: {name_of(error)}.") from error


def given(args: argparse.Namespace) -> str:
    """The configs that a command was given."""
    each = getattr(args, "configs", None) or [getattr(args, "config", None) or getattr(args, "data", None)]
    return " or ".join(str(path) for path in each if path) or "that the checkpoint was tried with"


@contextmanager
def explained(configs: str) -> Iterator[None]:
    """Surround what is done with a config.

    configs: its path, for messages, or those of several.

    Raises:
        InputError: in place of an error that an entry of the config has caused.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or cause_of(error):
            raise
        if fault := _fault(error):
            raise InputError(f"The config {configs} {fault}.") from error
        raise


def _fault(error: Exception) -> str | None:
    """What is wrong with a config, if that is why something has failed."""
    frames = _frames(error)
    builds = [
        frame.f_locals
        for frame in frames
        if _is_in(frame, build_functions) and frame.f_code.co_name == "build_from_cfg" and "args" in frame.f_locals
    ]
    if builds:
        return _building_fault(error, builds)
    if entry := _missing_entry(error, frames[-1]):
        return f"has no entry {entry}, which is needed here: add it"
    for frame in frames:  # mmengine looks for an optimiser's class without looking what it has found
        if _is_in(frame, default_constructor) and frame.f_locals.get("optimizer_cls", frame) is None:
            return _unknown_type(frame.f_locals["optimizer_cfg"]["type"], OPTIMIZERS)
    if isinstance(error, ImportError) and _is_in(frames[-1], mmengine_lazy):
        return f"imports what is not there: {name_of(error)}"
    if steps := [frame.f_locals["self"] for frame in frames if frame.f_code.co_name == "transform"]:
        return f"has a pipeline that fails in {type(steps[-1]).__name__}: {name_of(error)}"
    if layers := _misfit(error, frames):
        return f"has layers that do not fit each other, in {layers}: {name_of(error)}"
    if any(_uses_values(frame) for frame in frames):
        return f"does not go together: {name_of(error)}"
    return None


def _missing_entry(error: Exception, innermost: FrameType) -> str | None:
    """The entry of a config that has been asked for in vain."""
    if found := NO_ENTRY.search(str(error)):
        return found[1]
    asked = innermost.f_code.co_name == "__missing__" and _is_in(innermost, mmengine_config)
    return str(error.args[0]) if asked else None


def _uses_values(frame: FrameType) -> bool:
    """Whether a function takes what a config says as it is."""
    name = frame.f_code.co_name
    builds = name in ("from_cfg", "__init__") or name.startswith(("build_", "_build_"))
    return (builds and _is_in(frame, mmengine_runner)) or frame.f_code.co_filename in USERS


def _misfit(error: Exception, frames: list[FrameType]) -> str | None:
    """The layers down to one that gets another shape than it takes."""
    if not (isinstance(error, RuntimeError) and MISFIT.search(str(error))):
        return None
    modules = [frame.f_locals["self"] for frame in frames if isinstance(frame.f_locals.get("self"), nn.Module)]
    return ", ".join(dict.fromkeys(type(module).__name__ for module in modules))


def _building_fault(error: Exception, builds: list[dict[str, Any]]) -> str:
    """builds: the local variables of mmengine's `build_from_cfg`, outermost first."""
    inner = builds[-1]
    if found := UNKNOWN_TYPE.search(str(error)):
        return _unknown_type(found[1], inner["registry"])
    place = f"cannot be used, in {_place(builds)}: {name_of(error)}"
    if found := UNKNOWN_ARGUMENT.search(str(error)):
        return place + _meant(nearest(found[1], inspect.signature(inner["obj_cls"]).parameters))
    return place


def _unknown_type(name: str, registry: Registry) -> str:
    return f"names the type {name}, which no {registry.name} has" + _meant(nearest(name, _names(registry)))


def _meant(near: str | None) -> str:
    return f"; did you mean {near}" if near else ""


def _place(builds: list[dict[str, Any]]) -> str:
    """The entries that lead to the one at fault, as ``DINO, backbone ResNet``."""
    named: list[str] = []
    outer: dict[str, Any] = {}
    for local in builds:
        kind = local["cfg"].get("type")
        entry = next((key for key, value in outer.items() if isinstance(value, dict) and value.get("type") == kind), "")
        named.append(f"{entry} {getattr(kind, '__name__', kind)}".strip())
        outer = local["cfg"]
    return ", ".join(named)


def _names(registry: Registry) -> set[str]:
    """The types that a registry finds, its parents' included."""
    parent = _names(registry.parent) if registry.parent else set()
    return parent | registry.module_dict.keys()


def _lines(error: BaseException) -> list[tuple[FrameType, int]]:
    return list(traceback.walk_tb(error.__traceback__))


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in _lines(error)]


def _is_in(frame: FrameType, module: Any) -> bool:
    return frame.f_code.co_filename == module.__file__
