"""Reading published checkpoints and mapping them onto this project's modules.

file ──read──> content ──unwrap──> state_dict ──map──> the model's names and layouts ──> model
     (no code)        (ema, model, ...)        (formats)                      (LoadReport)

Importing it lets mmengine read its files here, too. What torch.save wrote is read by `archives`, which
knows its layouts, `unpickling`, which calls what the table of `stand_ins` allows, and `contents`.
"""

from brs_detr.errors import CheckpointError

from .loading import (
    PretrainedWeights,
    check_numbers,
    load_checkpoint,
    load_content,
    replace_mmengine_readers,
    skip_pretrained,
)
from .mapping import Skeleton, map_state_dict
from .reading import first_not_finite, read_checkpoint, state_dict_of, weights_of
from .report import LoadReport

replace_mmengine_readers()

__all__ = [
    "CheckpointError",
    "LoadReport",
    "PretrainedWeights",
    "Skeleton",
    "check_numbers",
    "first_not_finite",
    "load_checkpoint",
    "load_content",
    "map_state_dict",
    "read_checkpoint",
    "skip_pretrained",
    "state_dict_of",
    "weights_of",
]
