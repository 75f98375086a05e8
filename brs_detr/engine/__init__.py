"""Launching, hooks, checkpoints, prediction, conversion.

Importing it registers every class of the project with mmdet, makes the files that mmengine writes whole, configs found
by name and laid out once, and deformable attention exact under mixed precision.
"""

import brs_detr.ops  # noqa: F401  (before anything of mmdet: it makes mmcv.ops importable)

# isort: split
from brs_detr import backbones, data, detectors, heads, weights  # noqa: F401
from brs_detr.engine.progress.console import ProgressHook
from brs_detr.engine.progress.curves import CurvesHook
from brs_detr.engine.progress.log_lines import TrainingLogProcessor
from brs_detr.engine.running.checkpoints import WholeCheckpointHook, write_whole_files
from brs_detr.engine.running.optimizers import OnePassAdamW
from brs_detr.engine.setup import config_names, config_values
from brs_detr.engine.setup.config import BFloat16OptimWrapper, lay_out_once
from brs_detr.ops import float32_attention
from brs_detr.timing.loss_time import LossTimeHook

write_whole_files()
float32_attention.install()
config_names.register()
config_values.install()
lay_out_once()

__all__ = [
    "BFloat16OptimWrapper",
    "CurvesHook",
    "LossTimeHook",
    "OnePassAdamW",
    "ProgressHook",
    "TrainingLogProcessor",
    "WholeCheckpointHook",
]
