"""Backbones beyond mmdet's: any timm model, and mmdet's Swin initialised from any file."""

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

from .swin import Swin
from .timm_backbone import TimmBackbone

__all__ = ["Swin", "TimmBackbone"]
