"""The pieces of Co-DETR's transformer that mmdet does not have."""

from .auxiliary_query_embedding import AuxiliaryQueryEmbedding
from .memory_maps import MemoryMaps

__all__ = ["AuxiliaryQueryEmbedding", "MemoryMaps"]
