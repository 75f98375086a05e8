"""Co-DETR: a DETR trained together with one-to-many auxiliary heads."""

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

from .co_detr import CoDETR
from .co_dino import CoDINO
from .proposals import check_dino

check_dino()

__all__ = ["CoDETR", "CoDINO"]
