"""The pieces of Co-DETR's transformer that mmdet does not have."""

from .auxiliary_content_embedding import AuxiliaryContentEmbedding
from .auxiliary_query_embedding import AuxiliaryQueryEmbedding
from .memory_maps import MemoryMaps

__all__ = ["AuxiliaryContentEmbedding", "AuxiliaryQueryEmbedding", "MemoryMaps"]
