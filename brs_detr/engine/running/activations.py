"""Activation checkpointing (Chen et al., 2016): a block keeps its inputs alone and is computed again for its gradient.

The results are the same; memory for activations shrinks to those of one block, each of which is computed twice.
"""

import copy
from typing import Any

from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from mmdet.models.backbones.swin import SwinBlock
from mmdet.models.layers import DetrTransformerDecoderLayer, DetrTransformerEncoderLayer
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from brs_detr.backbones import TimmBackbone
from brs_detr.backbones.timm_models import recompute_activations
from brs_detr.errors import InputError
from brs_detr.weights import Skeleton

BLOCKS = (BasicBlock, Bottleneck, SwinBlock, DetrTransformerEncoderLayer, DetrTransformerDecoderLayer)


class Recomputed(nn.Module):
    """A block before whose class this one stands is computed again in the backward pass."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        if learns_statistics(self):  # twice a step, then
            return super().forward(*inputs, **options)
        return checkpoint(super().forward, *inputs, use_reentrant=False, **options)


def learns_statistics(block: nn.Module) -> bool:
    """Whether the forward pass changes the running statistics of a batch norm."""
    return any(isinstance(part, _BatchNorm) and part.training for part in block.modules())


def check(config: Config) -> None:
    """Look beforehand whether the model of a config has such a block.

    Raises:
        InputError: it has none.
    """
    with DefaultScope.overwrite_default_scope(config.get("default_scope", "mmdet")), Skeleton():
        checkpoint_activations(MODELS.build(copy.deepcopy(config.model)))


def checkpoint_activations(model: nn.Module) -> str:
    """Let the blocks of backbone, encoder and decoder be computed again in the backward pass, and say which.

    The names of weights, and copies of the model, are as before.

    Raises:
        InputError: the model has no such block.
    """
    found: dict[str, int] = {}
    for part in list(model.modules()):
        name = type(part).__name__
        if isinstance(part, TimmBackbone) and recomputes(part):
            found[part.model_name] = 1
        elif isinstance(part, BLOCKS):
            part.with_cp = False  # mmdet's own way, in the backbones
            part.__class__ = type(f"Recomputed{name}", (Recomputed, type(part)), {})
            found[name] = found.get(name, 0) + 1
    if not found:
        raise InputError(
            f"--checkpoint-activations: {type(model).__name__} has no block that can be computed again; a ResNet or "
            "Swin of mmdet, most backbones of timm, and the encoders and decoders of DETR-like detectors can."
        )
    blocks = ", ".join(f"{count} {name}" for name, count in found.items())
    return f"Activations are computed again in the backward pass: {blocks}."


def recomputes(backbone: TimmBackbone) -> bool:
    """Ask a timm model to; whether it can."""
    try:
        recompute_activations(backbone.model)
    except InputError:
        return False
    return True
