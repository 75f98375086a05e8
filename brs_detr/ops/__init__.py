"""mmcv's compiled operators on plain PyTorch, so that no extension has to be built.

Importing this package makes ``mmcv.ops`` importable with mmcv-lite, and must come before the first import of
``mmcv.ops`` or ``mmdet.models``. A compiled mmcv is left alone and keeps doing its own work.
"""

from brs_detr.ops.stand_in import MissingOperatorError, install

install()

__all__ = ["MissingOperatorError", "install"]
