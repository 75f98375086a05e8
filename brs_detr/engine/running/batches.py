"""The global batch: processes x images of each x forward passes whose gradients are added before a step."""

import math
from typing import Any

from mmengine.config import Config

from brs_detr.engine.running.schedules import with_each
from brs_detr.errors import InputError

PLACES = ("begin", "end", "milestones", "T_max", "step_size")  # of a schedule, in iterations


def set_batch(config: Config, batch: int, processes: int) -> str:
    """Let each step of the optimiser be taken for `batch` images, and say how they are divided.

    Each process takes as many images at a time as divide its share, but no more than the config's batch size. The
    learning rate stays; a schedule that counts iterations is stretched, since one is now another part of a step.

    Raises:
        InputError: the images cannot be divided among the processes, or the config does not say what they are.
    """
    check(config, batch, processes)
    loader, share = config.train_dataloader, batch // processes
    images = max(n for n in range(1, loader.batch_size + 1) if share % n == 0)
    passes = share // images
    before = config.optim_wrapper.get("accumulative_counts", 1)
    loader.batch_size = images
    config.optim_wrapper.accumulative_counts = passes
    if schedulers := config.get("param_scheduler"):
        config.param_scheduler = with_each(schedulers, lambda each: for_passes(each, passes, before))
    return (
        f"A step of the optimiser is taken for {batch} images: {counted(processes, 'process', 'es')} x "
        f"{counted(images, 'image')} x {counted(passes, 'forward pass', 'es')}. The learning rate is the config's."
    )


def check(config: Config, batch: int, processes: int) -> None:
    """Raises InputError if the config's training cannot take this batch."""
    if batch < 1:
        raise InputError("--batch needs at least 1.")
    if batch % processes:
        nearest = processes * math.ceil(batch / processes)
        raise InputError(f"--batch {batch} cannot be divided among {processes} processes: take {nearest}.")
    if "max_epochs" not in config.get("train_cfg", {}):
        raise InputError("--batch needs a config that trains by epochs.")
    if "batch_size" not in config.get("train_dataloader", {}):
        raise InputError("--batch needs train_dataloader.batch_size, the most images that fit at a time.")
    if config.get("auto_scale_lr", {}).get("enable"):
        raise InputError("--batch leaves the learning rate as it is: leave auto_scale_lr.enable=True out.")


def for_passes(scheduler: dict[str, Any], passes: int, before: int) -> dict[str, Any]:
    """A schedule whose iterations, if it counts them, are stretched; in place."""
    if not scheduler.get("by_epoch", True) and not scheduler.get("convert_to_iter_based"):
        scheduler.update({key: stretched(scheduler[key], passes, before) for key in PLACES if key in scheduler})
    return scheduler


def stretched(place: int | list[int], passes: int, before: int) -> int | list[int]:
    """A place in a schedule for steps of this many passes, in iterations; it was for steps of as many as before."""
    if isinstance(place, list | tuple):
        return [math.ceil(step * passes / before) for step in place]
    return math.ceil(place * passes / before)


def counted(number: int, noun: str, ending: str = "s") -> str:
    return f"{number} {noun}{ending if number != 1 else ''}"
