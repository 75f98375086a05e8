"""Hooks, launching, progress; importing it makes the files that mmengine writes whole, and configs found by name."""

import brs_detr.ops  # noqa: F401  (before anything of mmdet: it makes mmcv.ops importable)

# isort: split
from brs_detr.engine import atomic, config_names
from brs_detr.engine.amp import BFloat16OptimWrapper
from brs_detr.engine.checkpoint_hook import WholeCheckpointHook
from brs_detr.engine.curves import CurvesHook
from brs_detr.engine.loss_time_hook import LossTimeHook
from brs_detr.engine.progress import ProgressHook

atomic.register()
config_names.register()

__all__ = ["BFloat16OptimWrapper", "CurvesHook", "LossTimeHook", "ProgressHook", "WholeCheckpointHook"]
