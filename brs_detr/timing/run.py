"""Times the losses of several configs one after the other: a training step of each is recorded, and run again."""

import copy
import logging
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from brs_detr.data.checks import check_data
from brs_detr.errors import InputError
from brs_detr.losses import NotFiniteError
from brs_detr.weights import load_checkpoint, skip_pretrained

from .loss_time import LossTimer
from .measuring import MIN_REPEATS, Effort, measure, seconds_of
from .random_data import number_of_classes, random_batch
from .recording import METHODS, Case, RankingCall, losses_to_time, recorded
from .report import Report, environment, row_of
from .stand_in import SUPPORTED, replace_network

SHAPES, MODEL = "shapes", "model"
RANDOM = (SHAPES, MODEL)  # images and boxes at random; other sources are checkpoints


@dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    source: whose outputs: `SHAPES` for random ones in the heads' shapes, `MODEL` for the initialised model's on random
    images, or a checkpoint's on the config's training images. image_size: (h, w); delta: of the ranking losses instead
    of the config's; threads: of the CPU, None as torch wants.
    """

    methods: tuple[str, ...] = METHODS
    source: str = SHAPES
    images: int = 4
    image_size: tuple[int, int] = (800, 1333)
    effort: Effort = field(default_factory=Effort)
    delta: float | None = None
    device: str = "cpu"
    threads: int | None = None
    seed: int = 0


def usable_device(name: str) -> torch.device:
    """Raises InputError if --device names none, or one that this machine lacks."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"--device {name} is not a device: use cpu or cuda.") from error
    if device.type == "meta":
        raise InputError("--device meta computes nothing: use cpu or cuda.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda needs a GPU, and torch finds none here: leave the option away to use the CPU.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {device}: this machine has {torch.cuda.device_count()} GPUs, counted from 0.")
    return device


def check(settings: Settings) -> torch.device:
    """Raises InputError for what cannot be done."""
    device = usable_device(settings.device)
    for option in ("images", "threads"):
        value = getattr(settings, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} needs at least 1.")
    if (settings.threads or 1) > (os.cpu_count() or 1):
        raise InputError(f"--threads {settings.threads}: this machine runs {os.cpu_count()} at a time.")
    if settings.effort.repeats < 1:
        raise InputError("--repeats needs at least 1.")
    if settings.delta is not None and not 0 <= settings.delta < math.inf:
        raise InputError("--delta needs at least 0.")
    if not 0 <= settings.effort.seconds < math.inf:
        raise InputError("--seconds needs at least 0.")
    if min(settings.image_size) < 32:
        raise InputError("--image-size needs at least 32 pixels on each side.")
    return device


def recorded_environment(settings: Settings, device: torch.device) -> dict[str, Any]:
    """What the times depend on, beside the config."""
    size = "x".join(map(str, settings.image_size)) if settings.source in RANDOM else "as configured"
    return environment(device) | {
        "seed": settings.seed,
        "source": settings.source,
        "images": settings.images,
        "image_size": size,
        "delta": "as configured" if settings.delta is None else settings.delta,
    }


def time_losses(configs: Iterable[tuple[str, Config]], settings: Settings) -> Report:
    """Measure until the end, or until interrupted from the keyboard: what was measured is in the report.

    configs: each with its path, for messages and the report.

    Raises InputError for what cannot be measured.
    """
    device, by_path = check(settings), dict(configs)
    for path, config in by_path.items():
        if "model" not in config:
            raise InputError(f"The config {path} describes no model: give one of a detector.")
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # events are recorded on the current one
    if settings.threads:
        torch.set_num_threads(settings.threads)
    report = Report(recorded_environment(settings, device))
    try:
        for path, config in by_path.items():
            step = record_step(path, config, settings, device)
            for call in step.calls:
                cases = call.cases(settings.methods, settings.delta) if isinstance(call, RankingCall) else [call]
                for case in cases:
                    measured = measure(case.replay, case.replay.inputs, settings.effort)
                    report.rows.append(row_of(path, case, measured))
            report.outside[path] = step.outside
    except KeyboardInterrupt:
        report.interrupted = True
    return report


@dataclass(frozen=True)
class RecordedStep:
    """One training step. outside: its seconds outside the classification losses; None if it had no network."""

    calls: list[RankingCall | Case]
    outside: float | None


def record_step(path: str, config: Config, settings: Settings, device: torch.device) -> RecordedStep:
    """The losses' calls in one training step of a config. path: of the config, for messages.

    Raises InputError if the config has no classification loss, or does not work with the source.
    """
    source = settings.source
    torch.manual_seed(settings.seed)
    model = build_model(config, source, device)
    losses = losses_to_time(model, path)
    torch.manual_seed(settings.seed)  # again, so that every model sees the same images
    if source in RANDOM:
        batch = random_batch(settings.images, settings.image_size, number_of_classes(model))
    else:
        batch = training_batch(config, settings.images, settings.seed)
    batch = model.data_preprocessor(batch, training=True)
    if source == SHAPES:
        if not isinstance(model, SUPPORTED):
            raise InputError(
                f"The shapes of the heads of {path} cannot be told, as its detector is neither CoDETR nor a standard "
                f"single- or two-stage one ({type(model).__name__}): use --source {MODEL}."
            )
        replace_network(model, batch["inputs"], batch["data_samples"])
    try:
        with recorded(model, losses) as calls:
            model.loss(batch["inputs"], batch["data_samples"])
    except NotFiniteError as error:
        raise InputError(f"{error}: the training of {source} diverged, give --source an earlier checkpoint.") from error
    if not calls:
        raise InputError(f"A training step of {path} calls no classification loss: there is nothing to time.")
    return RecordedStep(calls, None if source == SHAPES else seconds_outside(model, losses, batch, device))


def build_model(config: Config, source: str, device: torch.device) -> BaseDetector:
    """The model in training mode, with the weights that the source asks for.

    Raises InputError if a checkpoint cannot be read or does not fit.
    """
    init_default_scope(config.get("default_scope", "mmdet"))
    model = MODELS.build(copy.deepcopy(config.model))
    skip_pretrained(model)
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # a line for every initialised weight
    if source == MODEL:
        model.init_weights()
    elif source != SHAPES:
        load_checkpoint(model, source, whole=True)
    model.train()  # a backbone's returns nothing
    return model.to(device)


def training_batch(config: Config, images: int, seed: int) -> dict[str, Any]:
    """The first images of the config's training data. Raises InputError if they cannot be read."""
    check_data(config, ("train",))
    loader = copy.deepcopy(config.train_dataloader)
    loader.update(batch_size=images, num_workers=0, persistent_workers=False)
    return next(iter(Runner.build_dataloader(loader, seed=seed)))


def seconds_outside(model: BaseDetector, losses: dict[str, nn.Module], batch: dict, device: torch.device) -> float:
    """Median seconds of forward and backward pass less those in the classification losses."""

    def step() -> None:
        loss, _ = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
        loss.backward()

    timer, seconds = LossTimer(), []
    for _ in range(MIN_REPEATS):
        timer.attach(list(losses.values()))
        taken = seconds_of(step, device)
        timer.detach()
        seconds.append(taken - sum(span.seconds for span in timer.take()))
        model.zero_grad()
    return median(seconds)
