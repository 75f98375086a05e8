"""Where the calls to time come from: drawn outputs, the model on random images, or a checkpoint on real images."""

import copy
import logging
from dataclasses import dataclass
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
from brs_detr.engine.loss_timer import LossTimer
from brs_detr.errors import InputError
from brs_detr.weights import load_checkpoint, skip_pretrained

from .batch import number_of_classes, random_batch
from .calls import Call
from .measuring import LEAST_REPEATS, now
from .recording import losses_to_time, recorded
from .stand_in import SUPPORTED, replace_network

SHAPES, MODEL = "shapes", "model"
DRAWN = (SHAPES, MODEL)  # images and boxes at random; other sources are checkpoints


@dataclass(frozen=True)
class Step:
    """One training step. seconds of it are spent outside the classification losses; None if it had no network."""

    calls: list[Call]
    seconds: float | None


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


def real_batch(config: Config, images: int, seed: int) -> dict[str, Any]:
    """The first images of the config's training data. Raises InputError if they cannot be read."""
    check_data(config, ("train",))
    loader = copy.deepcopy(config.train_dataloader)
    loader.update(batch_size=images, num_workers=0, persistent_workers=False)
    return next(iter(Runner.build_dataloader(loader, seed=seed)))


def record_step(
    path: str, config: Config, source: str, images: int, size: tuple[int, int], device: torch.device, seed: int
) -> Step:
    """The losses' calls in one training step of a config.

    path: of the config, for messages. source: `SHAPES`, `MODEL` or a checkpoint. size: of random images, (h, w).

    Raises InputError if the config has no classification loss, or does not work with the source.
    """
    torch.manual_seed(seed)
    model = build_model(config, source, device)
    losses = losses_to_time(model, path)
    torch.manual_seed(seed)  # again, so that every model sees the same images
    classes = number_of_classes(model)
    batch = random_batch(images, size, classes) if source in DRAWN else real_batch(config, images, seed)
    batch = model.data_preprocessor(batch, training=True)
    if source == SHAPES:
        if not isinstance(model, SUPPORTED):
            raise InputError(
                f"The shapes of the heads of {path} cannot be told, as its detector is neither CoDETR nor a standard "
                f"single- or two-stage one ({type(model).__name__}): use --source {MODEL}."
            )
        replace_network(model, batch["inputs"], batch["data_samples"])
    with recorded(model, losses) as calls:
        model.loss(batch["inputs"], batch["data_samples"])
    if not calls:
        raise InputError(f"A training step of {path} calls no classification loss: there is nothing to time.")
    return Step(calls, None if source == SHAPES else seconds_outside(model, losses, batch, device))


def seconds_outside(model: BaseDetector, losses: dict[str, nn.Module], batch: dict, device: torch.device) -> float:
    """Median seconds of forward and backward pass less those in the classification losses."""
    timer, seconds = LossTimer(), []
    for _ in range(LEAST_REPEATS):
        timer.attach(list(losses.values()))
        start = now(device)
        loss, _ = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
        loss.backward()
        taken = now(device) - start
        timer.detach()
        seconds.append(taken - sum(span.seconds for span in timer.take()))
        model.zero_grad()
    return median(seconds)
