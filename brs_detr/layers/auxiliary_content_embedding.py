"""Content of the queries that come from auxiliary heads, where the decoder makes positions itself, as DINO's does."""

from mmengine.model import BaseModule
from torch import Tensor, nn


class AuxiliaryContentEmbedding(BaseModule):
    """Turns the boxes of auxiliary head `head`'s positives into content; as released, their features are not used."""

    def __init__(self, num_heads: int, embed_dims: int) -> None:
        super().__init__()
        self.pos_trans = nn.ModuleList(nn.Linear(2 * embed_dims, embed_dims) for _ in range(num_heads))
        self.pos_norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(num_heads))

    def init_weights(self) -> None:
        """Xavier for every matrix, as in the rest of the transformer."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, head: int, box_embed: Tensor) -> Tensor:
        """Sine embedding of boxes (N, Q, 2 * channels) -> queries (N, Q, channels)."""
        return self.pos_norms[head](self.pos_trans[head](box_embed))
