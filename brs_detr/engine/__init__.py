"""Hooks, launching, progress, checkpoints; importing it makes mmengine's files whole and readable."""

import brs_detr.ops  # noqa: F401  (before anything of mmdet: it makes mmcv.ops importable)

# isort: split
from brs_detr.engine import atomic, safe_globals
from brs_detr.engine.amp import BFloat16OptimWrapper
from brs_detr.engine.checkpoint_hook import WholeCheckpointHook
from brs_detr.engine.curves import CurvesHook
from brs_detr.engine.progress import ProgressHook

atomic.register()
safe_globals.register()

__all__ = ["BFloat16OptimWrapper", "CurvesHook", "ProgressHook", "WholeCheckpointHook"]
