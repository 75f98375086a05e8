"""YAML and JSON configs hold values only, which make nothing run but what the registries know.

A Python config is a program. What is written in YAML or JSON is looked through file by file as mmengine reads it,
before any module is imported or object built: mmengine takes a ``type`` that no registry has for the path of any Python
object, and imports what it takes for a scope and what ``custom_imports`` names.
"""

import re
import sys
from collections import deque
from collections.abc import Iterator
from importlib.util import find_spec
from typing import IO, Any

import mmengine.registry
import yaml
from mmengine.config import config as mmengine_configs
from mmengine.fileio import load, register_handler
from mmengine.fileio.handlers import YamlHandler
from mmengine.registry import Registry

from brs_detr.errors import InputError
from brs_detr.files import yaml_problem

OWN_IMPORTS = ["brs_detr.registry"]
TYPE = re.compile(r"(.+_)?type|constructor|padding_mode")  # keys whose values mmengine, mmcv and mmdet look up
SCOPES = {"_scope_", "default_scope"}
# mmdet's and mmengine's that evaluate, unpickle or look up what other keys say, or read a further config.
RUNNING = {
    "CameraMotionCompensation",
    "KnowledgeDistillationSingleStageDetector",
    "MMFullyShardedDataParallel",
    "OpenImagesChallengeDataset",
    "OpenImagesDataset",
}
ONLY = "only a Python config may name functions and modules of its own"


class NotValuesError(InputError):
    """What is wrong with a YAML or JSON config, to follow its name in a sentence."""


class ValueLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML of values: what no tag can turn into a call. Tuples, which mmengine dumps, are values.

    The compiled one is quicker: mmengine reads the long list of mmdet's models for every config of mmdet's.
    """


ValueLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)


@register_handler(["yaml", "yml"])
class ValueYamlHandler(YamlHandler):
    """Takes the place of mmengine's, whose loader calls what the file names (``!!python/object/apply``)."""

    def load_from_fileobj(self, file: IO[str], **options: Any) -> Any:
        try:
            return yaml.load(file, Loader=ValueLoader)  # a loader of values
        except yaml.constructor.ConstructorError as error:
            problem = f"holds more than values ({yaml_problem(error)}): write it as a Python config"
        except yaml.YAMLError as error:
            problem = f"cannot be read ({yaml_problem(error)})"
        raise NotValuesError(problem)


def install() -> None:
    """Let mmengine look through YAML and JSON configs, and those that others are based on."""
    mmengine_configs.load = load_values


def load_values(path: str) -> Any:
    """The content of a YAML or JSON config.

    Raises:
        NotValuesError: it would import, call or evaluate something of its own.
    """
    content = load(path)
    imports = content.get("custom_imports") if isinstance(content, dict) else None
    if imports and not (isinstance(imports, dict) and imports.get("imports") in (OWN_IMPORTS, *OWN_IMPORTS)):
        raise NotValuesError(f"has custom_imports of more than {OWN_IMPORTS[0]}: {ONLY}")
    for place, key, text in texts(content):
        if fault := fault_of(key, text):
            raise NotValuesError(f"has {place} = {text!r}, {fault}: {ONLY}")
    return content


def texts(content: Any) -> Iterator[tuple[str, str, str]]:
    """Every text of a config: where it is, by which key ("" in a list), and itself; of what recurs, once."""
    seen: set[int] = set()
    waiting: deque[tuple[str, Any]] = deque([("", content)] if isinstance(content, dict) else [])
    while waiting:
        place, entry = waiting.popleft()
        if id(entry) in seen:  # YAML's aliases name one list a billion times, or within itself
            continue
        seen.add(id(entry))
        named = isinstance(entry, dict)
        for key, value in entry.items() if named else enumerate(entry):
            inner = f"{place}.{key}".lstrip(".")
            if isinstance(value, str):
                yield inner, str(key) if named else "", value
            elif isinstance(value, (dict, list, tuple)):
                waiting.append((inner, value))


def fault_of(key: str, text: str) -> str | None:
    """Why a text is no value; None where it is one."""
    if text.endswith((".pkl", ".pickle")):
        return "a pickle, which calls what it names"
    if key == "sys_path":
        return "from where a file backend imports"
    if key in SCOPES and text not in {registry.scope for registry in registries()}:
        return "which is no scope of a registry"
    if not TYPE.fullmatch(key):
        return None
    if text.rpartition(".")[2] in RUNNING:
        return "which runs what other entries name"
    return None if is_name(text) else "which no registry has"


def is_name(text: str) -> bool:
    """Whether nothing but an entry of a registry can be found by it.

    What names nothing at all is left to others: mmdet's own words, such as ``type="nms"``, and misspelt names, told
    when they are built. Names with ``_`` before them stand for variables of a base, which mmengine puts in later.
    """
    scope, dot, name = text.rpartition(".")
    if dot:
        return scope in {registry.scope for registry in registries()} and is_registered(name)
    return re.fullmatch(r"[^\W_]\w*", name) is not None and (is_registered(name) or not is_module(name))


def registries() -> Iterator[Registry]:
    """mmengine's, and those of other packages below them."""
    waiting = [each for each in vars(mmengine.registry).values() if isinstance(each, Registry)]
    while waiting:
        yield (registry := waiting.pop())
        waiting += registry.children.values()


def is_registered(name: str) -> bool:
    if any(name in registry.module_dict for registry in registries()):
        return True
    for registry in list(registries()):
        registry.import_from_location()  # fixed modules of its package
    return any(name in registry.module_dict for registry in registries())


def is_module(name: str) -> bool:
    """Whether a module of this name can be imported; none is."""
    return name in sys.modules or find_spec(name) is not None
