"""Names in a config and among its options that nothing reads, because they are misspelt."""

import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

# Entries that mmengine's runner takes from the config itself, those of our training, and those of mmdet's tools.
FROM_CONFIG = {"activation_checkpointing", "compile", "custom_imports", "find_unused_parameters", "model_wrapper_cfg"}
OF_TRAIN = {"checkpoint_minutes", "freeze_backbone"}
OF_TOOLS = {"efficient_conv_bn_eval", "sync_bn", "tta_cfg", "tta_model", "tta_pipeline"}
MEANT = frozenset(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"} | FROM_CONFIG | OF_TRAIN
READ = MEANT | OF_TOOLS
ALIKE = 0.81  # of difflib's ratio; above that of the variable conv_cfg and env_cfg


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    return next(iter(get_close_matches(name, list(names), n=1, cutoff=ALIKE)), None)


def misspelt_entries(config: Config) -> list[str]:
    """Remarks about top-level entries that look like one that is read. All others may be variables of the config."""
    meant = {name: nearest(name, MEANT) for name in config if name not in READ}
    return [
        f"{config.filename}: nothing reads {name}. Did you mean {near}?"
        for name, near in meant.items()
        if near and not name.startswith(f"{near}_")  # a variable such as val_evaluator_masks
    ]


def misspelt_options(config: Config, options: Iterable[str]) -> list[str]:
    """Remarks about options, such as ``model.bbox_head.num_classes``, that name nothing in the config."""
    return [remark for option in options if (remark := _misspelt_option(config, option.split(".")))]


def _misspelt_option(config: Config, keys: list[str]) -> str | None:
    node: Any = dict.fromkeys(READ) | dict(config.items())
    for depth, key in enumerate(keys):
        if isinstance(node, (list, tuple)) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        elif not isinstance(node, Mapping):
            return None
        elif key in node:
            node = node[key]
        elif near := nearest(key, node):
            meant = ".".join([*keys[:depth], near, *keys[depth + 1 :]])
            return f"--cfg-options: the config has no {'.'.join(keys)}. Did you mean {meant}?"
        elif depth == 0 and len(keys) > 1:
            return f"--cfg-options: the config has no {key}, and nothing reads {'.'.join(keys)}."
        else:
            return None  # what the config does not state, its default is changed
    return None
