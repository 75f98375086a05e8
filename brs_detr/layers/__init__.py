"""The pieces of Co-DETR's transformer that mmdet does not have, and RoI features in float32."""

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

from .auxiliary_content_embedding import AuxiliaryContentEmbedding
from .auxiliary_query_embedding import AuxiliaryQueryEmbedding
from .memory_maps import MemoryMaps
from .roi_extractor import Float32RoIExtractor

__all__ = ["AuxiliaryContentEmbedding", "AuxiliaryQueryEmbedding", "Float32RoIExtractor", "MemoryMaps"]
