"""The config of a run: read, and changed by the command line's options before anything is built."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS, OPTIM_WRAPPERS
from mmengine.config import Config
from mmengine.config import config as mmengine_configs
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from brs_detr.engine.progress import console
from brs_detr.engine.running.schedules import with_each
from brs_detr.engine.setup import config_errors, config_names, pipelines, spelling
from brs_detr.errors import InputError
from brs_detr.heads.ranking import RankingMixin
from brs_detr.losses import RankingLoss

COUNTED = (
    ("model", "num_queries", "a detector of queries finds nothing without any"),
    ("train_cfg", "val_interval", "give 1 or more; after the last epoch there is an evaluation in any case"),
)
PLACES = dict(begin=0, end=1, T_max=1, step_size=1, total_steps=1)  # of a schedule, in epochs, and the least of each


def read_config(path: str | Path) -> Config:
    """A config, given by its path or its name, as it stands.

    Raises:
        InputError: it or one of its bases is missing or mistaken, or is YAML or JSON that would run code.
    """
    file = config_names.locate(path)
    if not file.is_file():
        raise InputError(f"The config {path} {'is no file' if file.exists() else 'does not exist'}.")
    with config_errors.reading(file):
        return Config.fromfile(file)


def load_config(path: str, options: dict[str, Any] | None, folder: str | None) -> Config:
    """Read a config, merge the command line's ``key=value`` options, settle the work directory.

    A Python config is a program and may do whatever a program may: read one before you use it. A YAML or JSON config
    holds values only, see `config_values`, and so do those of YAML and JSON that it is based on.

    Raises:
        InputError: there is no such file, it or a base cannot be read, or an option does not go with it; or `path` is a
            folder that is no work directory.
    """
    config = read_config(path)
    for remark in spelling.misspelt_entries(config) + spelling.misspelt_options(config, options or {}):
        console.warn(remark)
    with config_errors.merging(path, options or {}):
        config.merge_from_dict(options or {})
    check_counts(config)
    pipelines.follow_variables(config, config_names.locate(path))
    own_folder = path if Path(path).is_dir() else config.get("work_dir")
    config.work_dir = folder or own_folder or str(Path("work_dirs", Path(path).stem))
    return config


def check_counts(config: Config) -> None:
    """Raises InputError where a config has none of what it counts."""
    for part, key, remedy in COUNTED:
        number = config[part].get(key) if isinstance(config.get(part), dict) else None
        if isinstance(number, int) and number < 1:
            raise InputError(f"{part}.{key} is {number}: {remedy}.")


def lay_out_once() -> None:
    """Let mmengine lay out a text once: it asks yapf, for a second, at every checkpoint and four times before."""
    format_code = mmengine_configs.FormatCode

    @lru_cache(maxsize=1)
    def laid_out(text: str, style: tuple[tuple[str, Any], ...], **options: Any) -> Any:
        return format_code(text, style_config=dict(style), **options)

    def format_once(text: str, style_config: dict[str, Any], **options: Any) -> Any:
        return laid_out(text, tuple(style_config.items()), **options)

    mmengine_configs.FormatCode = format_once


def strings(entry: Any) -> Iterator[str]:
    """Every string in a config; the names of all files that it reads are among them."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, (Mapping, Config)):
        for value in entry.values():
            yield from strings(value)
    elif isinstance(entry, (list, tuple)):
        for value in entry:
            yield from strings(value)


def set_epochs(config: Config, epochs: int) -> None:
    """Train for this many epochs, with every epoch of the learning-rate schedule moved in proportion.

    Raises:
        InputError: no epoch, or the config counts iterations.
    """
    if epochs < 1:
        raise InputError("--epochs needs at least 1.")
    if "max_epochs" not in config.get("train_cfg", {}):
        raise InputError("--epochs needs a config that trains by epochs.")
    stretch = epochs / config.train_cfg.max_epochs
    config.train_cfg.max_epochs = epochs
    if schedulers := config.get("param_scheduler"):
        config.param_scheduler = with_each(schedulers, lambda each: for_epochs(each, stretch))


def for_epochs(scheduler: dict[str, Any], stretch: float) -> dict[str, Any]:
    """A schedule whose epochs, if it counts them, are moved in proportion; in place."""
    if scheduler.get("by_epoch", True):
        for key, least in PLACES.items():
            if scheduler.get(key):
                scheduler[key] = max(least, round(scheduler[key] * stretch))
        if "periods" in scheduler:
            scheduler["periods"] = [max(1, round(period * stretch)) for period in scheduler["periods"]]
        if "milestones" in scheduler:
            scheduler["milestones"] = sorted({max(1, round(step * stretch)) for step in scheduler["milestones"]})
    return scheduler


def rank_over_processes(config: Config) -> None:
    """Let every ranking loss of the model rank the samples of all processes together.

    Raises:
        InputError: none ranks, or one of them cannot: by its method, or in a head of mmdet's own.
    """
    heads = dict(_ranking_heads(config.model, "model"))
    if not heads:
        raise InputError(f"--sync-ranking: no loss of {config.filename} ranks.")
    for name, head in heads.items():
        if not issubclass(_class_of(head), RankingMixin):
            raise InputError(
                f"--sync-ranking: {name} is a head of mmdet's own ({head['type']}), which leaves out its loss where a "
                "process has no objects, and the others would wait for it: take a ranking head."
            )
        if head["loss_cls"].get("method") == "bucketed":
            raise InputError(
                f'--sync-ranking: {name}.loss_cls has method="bucketed", whose buckets are the means of one process\'s '
                'samples: give it method="exact".'
            )
        head["loss_cls"]["sync"] = True


def _ranking_heads(entry: Any, name: str) -> Iterator[tuple[str, dict]]:
    """The configs of heads with a ranking loss in a model's, by where they are."""
    if isinstance(entry, dict):
        if isinstance(loss := entry.get("loss_cls"), dict) and issubclass(_class_of(loss), RankingLoss):
            yield name, entry
        entry = entry.items()
    elif isinstance(entry, (list, tuple)):
        entry = enumerate(entry)
    else:
        return
    for key, value in entry:
        yield from _ranking_heads(value, f"{name}.{key}")


def _class_of(entry: dict) -> type:
    """What a config builds; `object` where that is unknown."""
    kind = MODELS.get(entry["type"]) if isinstance(entry.get("type"), str) else entry.get("type")
    return kind if isinstance(kind, type) else object


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast, on a CPU too; weights and optimiser stay in float32."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


def use_mixed_precision(config: Config) -> None:
    """Switch the config's optimiser to mixed precision: bfloat16, or float16 on a GPU without it."""
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        config.optim_wrapper.type = "AmpOptimWrapper"
        config.optim_wrapper.loss_scale = "dynamic"
    else:
        config.optim_wrapper.type = BFloat16OptimWrapper.__name__
