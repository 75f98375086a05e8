"""Models without memory and state_dicts of published layouts."""

import functools
import json

import timm
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from brs_detr.engine.converting import CONFIGS, build_skeleton
from brs_detr.weights import Skeleton
from tests.reference import REFERENCE

SWIN_TINY = {
    "type": "Swin",
    "embed_dims": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": 7,
    "patch_norm": True,
    "out_indices": (1, 2, 3),
}
SMALL_SWIN = {**SWIN_TINY, "embed_dims": 24, "depths": [2, 2, 2, 2]}


@functools.cache
def skeleton(config: str) -> nn.Module:
    return build_skeleton(CONFIGS / f"{config}.py")


def keys(name: str) -> dict[str, Tensor]:
    """A released model's state_dict, without memory."""
    listed = json.loads((REFERENCE / "state_dict_keys" / f"{name}.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in listed}


def build(config: dict) -> nn.Module:
    init_default_scope("mmdet")
    return MODELS.build(config)


def shell(config: dict) -> nn.Module:
    with Skeleton():
        return build(config)


def timm_weights(name: str, **options) -> dict[str, Tensor]:
    with Skeleton():
        return timm.create_model(name, **options).state_dict()


def tiny_resnet(**options) -> nn.Module:
    return build(dict(type="ResNet", depth=18, base_channels=4, **options))
