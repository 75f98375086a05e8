"""Hooks, launching, progress; importing it makes the files that mmengine writes whole."""

import brs_detr.ops  # noqa: F401  (before anything of mmdet: it makes mmcv.ops importable)

# isort: split
from brs_detr.engine import atomic
from brs_detr.engine.amp import BFloat16OptimWrapper
from brs_detr.engine.checkpoint_hook import WholeCheckpointHook
from brs_detr.engine.curves import CurvesHook
from brs_detr.engine.progress import ProgressHook
from brs_detr.timing.loss_time import LossTimeHook

atomic.register()

__all__ = ["BFloat16OptimWrapper", "CurvesHook", "LossTimeHook", "ProgressHook", "WholeCheckpointHook"]
