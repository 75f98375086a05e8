"""A training that diverges ends before its weights are kept, and a model that does not compute gets no AP.

what is looked at                  when                       read from
losses of an iteration             after it                   the host, where the log has them already
outputs of heads, predictions      evaluation, prediction     the device, once a head and image
weights                            before they are saved      the device, once
"""

import re
from collections.abc import Sequence
from functools import partial
from math import isfinite
from typing import Any, cast

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from brs_detr.losses import NotFiniteError

# Trained detectors stay below 1e3 by what we know; a weight of 1e6 leaves float32 nothing to compute with.
SUSPICIOUS, LIMIT = 1e4, 1e6
UNMATCHED = "invalid numeric entries"  # scipy's words about a cost matrix, in mmdet's Hungarian assigners
HEAD = re.compile(r"head(\.\d+)?$")  # Cascade R-CNN has one for each stage
NAMES = {"bboxes": "boxes"}


class DivergenceError(ArithmeticError):
    """Losses, predictions or weights are not finite, or far too large; the message says which."""


def check_losses(losses: dict[str, float]) -> None:
    """Raises DivergenceError, naming the losses that are not finite."""
    if wrong := [name for name, value in losses.items() if not isfinite(value)]:
        parts = [name for name in wrong if name != "loss"]  # the total, if it alone is too large
        raise DivergenceError(f"{', '.join(parts or wrong)}: NaN or infinite")


def check_predictions(found: InstanceData, image: str) -> None:
    """Raises DivergenceError if boxes, scores or masks of an image are not finite."""
    floats = {name: value for name, value in found.items() if isinstance(value, Tensor) and value.is_floating_point()}
    if wrong := [NAMES.get(name, name) for name, value in floats.items() if not value.isfinite().all()]:
        raise DivergenceError(f"{', '.join(wrong)} predicted for {image}: NaN or infinite")


def watch_heads(model: nn.Module) -> list[RemovableHandle]:
    """Let every head refuse, outside training, to give outputs that are NaN or infinite.

    Suppression drops a box whose score is NaN, so that predictions alone tell too little. An output of -inf is how
    some heads mask classes.
    """
    heads = {name: module for name, module in model.named_modules() if HEAD.search(name)}
    return [module.register_forward_hook(partial(_check_outputs, name)) for name, module in heads.items()]


def _check_outputs(name: str, head: nn.Module, inputs: Any, outputs: Any) -> None:
    floats = [] if head.training else [output for output in _tensors(outputs) if output.is_floating_point()]
    if floats and not torch.stack([(output < torch.inf).all() for output in floats]).all():
        raise DivergenceError(f"outputs of {name}: NaN or infinite")


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, (list, tuple)):
        return [tensor for output in outputs for tensor in _tensors(output)]
    return [outputs] if isinstance(outputs, Tensor) else []


def largest_weight(model: nn.Module) -> tuple[str, float]:
    """Name and absolute value of the model's largest weight, infinite for NaN."""
    unwrapped = cast(nn.Module, model.module) if is_model_wrapper(model) else model
    named = {name: weight for name, weight in unwrapped.named_parameters() if weight.numel()}
    norms = torch.stack([torch.linalg.vector_norm(w.detach().float(), torch.inf) for w in named.values()])
    index = int(norms.nan_to_num(nan=torch.inf).argmax())
    return list(named)[index], float(norms.nan_to_num(nan=torch.inf)[index])


def check_weights(model: nn.Module) -> str | None:
    """A remark about a suspiciously large weight, None where all are as usual.

    Raises:
        DivergenceError: a weight is NaN, or beyond LIMIT.
    """
    name, value = largest_weight(model)
    if value > LIMIT:
        raise DivergenceError(f"{name} has weights that are NaN or have grown to {value:.0e}")
    if value > SUSPICIOUS:
        return f"{name} has weights of {value:.0e}: training may be diverging, lower the learning rate."
    return None


def reason(error: Exception, model: nn.Module, trained: bool = True) -> str | None:
    """What diverged, if that is why a training or an evaluation has ended with this error.

    trained: by a step, or loaded; before, weights may be whatever the memory held.
    """
    if isinstance(error, (DivergenceError, NotFiniteError)):
        return str(error)
    if UNMATCHED in str(error):
        return "logits or boxes are NaN or infinite, so queries cannot be matched"
    if not trained:
        return None
    name, value = largest_weight(model)
    return f"{name} has weights that are NaN or have grown to {value:.0e}" if value > LIMIT else None


class DivergenceHook(Hook):
    """Checks losses, and predictions whatever the metric."""

    priority = "HIGH"  # after mmengine has put the losses on the host, before anything is logged or saved

    def __init__(self) -> None:
        self.handles: list[RemovableHandle] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        hub = runner.message_hub
        check_losses({name: hub.get_scalar(f"train/{name}").current() for name in outputs or {} if "loss" in name})

    def before_val(self, runner: Runner) -> None:
        self.handles = self.handles or watch_heads(runner.model)

    def before_test(self, runner: Runner) -> None:
        self.before_val(runner)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence | None = None
    ) -> None:
        for sample in outputs or ():
            if "pred_instances" in sample:
                check_predictions(sample.pred_instances, sample.get("img_path", "an image"))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence | None = None
    ) -> None:
        self.after_val_iter(runner, batch_idx, data_batch, outputs)
