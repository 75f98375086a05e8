"""Swin Transformer in three layouts; the common one is Microsoft's.

Microsoft merges patches at the end of a stage, timm at the beginning of the next one. mmdet has other names,
and its merging, an unfold, orders the 4 C inputs by channel where Microsoft's orders them by patch.
"""

import re

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

from mmdet.models.backbones.swin import swin_converter
from torch import Tensor

from .formats import Entry, Format

_UNUSED, _FRESH = r"^(head|norm)\.", r"^norm\d\."  # the classifier, and the output norms of detectors
_FROM_MMDET = (
    (r"^stages\.", "layers."),
    (r"\.attn\.w_msa\.", ".attn."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
)
_PATCHES = [0, 2, 1, 3]  # Microsoft's order of the four patches, row by row


def _from_mmdet(name: str, tensor: Tensor) -> Entry:
    for pattern, replacement in _FROM_MMDET:
        name = re.sub(pattern, replacement, name)
    if ".downsample." in name:
        by_channel = tensor.unflatten(-1, (-1, 4))
        tensor = by_channel.transpose(-1, -2)[..., _PATCHES, :].flatten(-2)
    return name, tensor


def _to_mmdet(name: str, tensor: Tensor) -> Entry:
    """mmdet's own converter, which drops the classifier."""
    converted = swin_converter({name: tensor})
    return next(((new.removeprefix("backbone."), value) for new, value in converted.items()), (name, tensor))


def _shift_merging(name: str, stages: int) -> str:
    return re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + stages}.downsample", name)


MMDET_SWIN = Format(
    "Swin of mmdet",
    lambda names: any(".attn.w_msa." in name for name in names),
    _from_mmdet,
    _to_mmdet,
    unused=_UNUSED,
    fresh=_FRESH,
)
MICROSOFT_SWIN = Format(
    "Swin of Microsoft",
    lambda names: "layers.0.downsample.reduction.weight" in names,
    unused=_UNUSED,
    fresh=_FRESH,
)
TIMM_SWIN = Format(
    "Swin of timm",
    lambda names: "layers.1.downsample.reduction.weight" in names,
    lambda name, tensor: (_shift_merging(name, -1), tensor),
    lambda name, tensor: (_shift_merging(name, 1), tensor),
    unused=_UNUSED,
    fresh=_FRESH,
)
