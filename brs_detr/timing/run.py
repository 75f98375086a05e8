"""Times the losses of several configs one after the other."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import mmdet
import torch

from brs_detr.engine import console
from brs_detr.engine.launch import load_config
from brs_detr.errors import InputError

from .calls import Call, PlainCall
from .measuring import Effort, measure
from .methods import METHODS, Cell, plain_cell, ranking_cells
from .rows import Report, row_of
from .sources import DRAWN, SHAPES, record_step


@dataclass(frozen=True)
class Settings:
    """What the command line asks for. image_size: (h, w); threads: of the CPU, None as torch wants."""

    methods: tuple[str, ...] = METHODS
    source: str = SHAPES
    images: int = 4
    image_size: tuple[int, int] = (800, 1333)
    effort: Effort = field(default_factory=Effort)
    delta: float | None = None
    device: str = "cpu"
    threads: int | None = None
    seed: int = 0
    options: dict[str, Any] | None = None


def check(settings: Settings) -> torch.device:
    """Raises InputError for what cannot be done."""
    try:
        device = torch.device(settings.device)
    except RuntimeError as error:
        raise InputError(f"--device {settings.device} is not a device: use cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda needs a GPU, and torch finds none here: leave the option away to use the CPU.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {device}: this machine has {torch.cuda.device_count()} GPUs, counted from 0.")
    for option in ("images", "threads"):
        value = getattr(settings, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} needs at least 1.")
    if settings.effort.repeats < 1:
        raise InputError("--repeats needs at least 1.")
    if settings.delta is not None and settings.delta < 0:
        raise InputError("--delta needs at least 0.")
    if min(settings.image_size) < 32:
        raise InputError("--image-size needs at least 32 pixels on each side.")
    return device


def environment(settings: Settings, device: torch.device) -> dict[str, Any]:
    """What the times depend on, beside the config."""
    gpu = device.type == "cuda"
    size = "x".join(map(str, settings.image_size)) if settings.source in DRAWN else "as configured"
    return {
        "device": torch.cuda.get_device_name(device) if gpu else f"CPU {platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "mmdet": mmdet.__version__,
        "seed": settings.seed,
        "source": settings.source,
        "images": settings.images,
        "image_size": size,
        "delta": "as configured" if settings.delta is None else settings.delta,
    }


def cells_of(call: Call, settings: Settings) -> Iterator[Cell]:
    """Each problem by every method, then the next."""
    if isinstance(call, PlainCall):
        yield plain_cell(call)
        return
    for cells in zip(*(ranking_cells(call, m, settings.delta) for m in settings.methods), strict=True):
        yield from cells


def time_losses(configs: list[str], settings: Settings) -> Report:
    """Measure until the end, or until interrupted from the keyboard: what was measured is in the report.

    Raises InputError for what cannot be measured.
    """
    console.silence_third_parties()
    device, configs = check(settings), list(dict.fromkeys(configs))
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # events are recorded on the current one
    if settings.threads:
        torch.set_num_threads(settings.threads)
    loaded = [load_config(path, settings.options, folder=None) for path in configs]  # all, before any is measured
    for path, config in zip(configs, loaded, strict=True):
        if "model" not in config:
            raise InputError(f"The config {path} describes no model: give one of a detector.")
    report = Report(environment(settings, device))
    try:
        for path, config in zip(configs, loaded, strict=True):
            step = record_step(
                path, config, settings.source, settings.images, settings.image_size, device, settings.seed
            )
            for call in step.calls:
                for cell in cells_of(call, settings):
                    report.rows.append(row_of(path, cell, measure(cell, settings.effort)))
            report.outside[path] = step.seconds
    except KeyboardInterrupt:
        report.interrupted = True
    return report
