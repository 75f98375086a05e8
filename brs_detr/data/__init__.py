"""The embedded data set, reading images, and checks of COCO-format data."""

import brs_detr.ops  # noqa: F401  (before anything of mmdet: it makes mmcv.ops importable)

# isort: split
from brs_detr.data.coco_api import install
from brs_detr.data.coco_metric import CocoMetricWithThreshold
from brs_detr.data.images import LoadImage

install()

__all__ = ["CocoMetricWithThreshold", "LoadImage"]
