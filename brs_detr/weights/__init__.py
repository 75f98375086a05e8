"""Reading published checkpoints and mapping them onto this project's modules.

file ──read──> content ──unwrap──> state_dict ──map──> the model's names and layouts ──> model
     (no code)        (ema, model, ...)        (formats)                      (LoadReport)
"""

from .errors import CheckpointError
from .initializer import PretrainedWeights, skip_pretrained
from .loading import load_checkpoint, load_content, map_state_dict
from .mmengine_loader import register as _read_mmengine_files_here
from .reading import read_checkpoint
from .report import LoadReport
from .unwrapping import state_dict_of

_read_mmengine_files_here()

__all__ = [
    "CheckpointError",
    "LoadReport",
    "PretrainedWeights",
    "load_checkpoint",
    "load_content",
    "map_state_dict",
    "read_checkpoint",
    "skip_pretrained",
    "state_dict_of",
]
