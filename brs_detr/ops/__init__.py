"""mmcv's compiled operators on plain PyTorch, so that no extension has to be built.

Importing this package makes ``mmcv.ops`` importable with mmcv-lite, and must come before the first import of
``mmcv.ops`` or ``mmdet.models``. A compiled mmcv is left alone and keeps doing its own work; one fault of mmcv's
suppression, compiled or not, is mended (`nms_precision`).
"""

from brs_detr.ops.stand_in import MissingOperatorError, install

install()

# isort: split
from brs_detr.ops import nms_precision  # noqa: E402

nms_precision.install()

__all__ = ["MissingOperatorError", "install"]
