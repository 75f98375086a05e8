"""mmcv's suppression of boxes of several classes or levels, with scores of half precision beside boxes of full.

So an RPN calls it in training by ``--amp``. Of 10,000 boxes and more mmcv suppresses each level by itself and writes
float32 scores into a tensor of the scores' own precision, which is an error.
"""

from functools import wraps
from importlib import import_module
from typing import Any

import torch
from mmcv.ops import batched_nms as suppress
from torch import Tensor


@wraps(suppress)
def batched_nms(boxes: Tensor, scores: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """mmcv's function with scores in the precision that it returns them in."""
    return suppress(boxes, scores.to(torch.promote_types(boxes.dtype, scores.dtype)), *args, **kwargs)


def install() -> None:
    """Let mmdet import it in the place of mmcv's."""
    for module in ("mmcv.ops", "mmcv.ops.nms"):
        vars(import_module(module))["batched_nms"] = batched_nms
