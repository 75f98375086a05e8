"""Backbones under timm's names.

In a :class:`brs_detr.backbones.TimmBackbone`, which takes models apart for their features, tensors have other
names: its `timm_names` says which.
"""

from .formats import Format

OTHER = Format("a backbone of timm", lambda names: True, unused=r"^(head|fc|classifier|head_dist)\.")
