"""Content and position of the queries that come from auxiliary heads."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn


class AuxiliaryQueryEmbedding(BaseModule):
    """Turns the boxes and features of auxiliary head `head`'s positives into queries (Co-DETR, equation 3).

    The embedding that tells the heads apart is one number a head, as in the released models, whose weights have
    this shape.
    """

    def __init__(self, num_heads: int, embed_dims: int) -> None:
        super().__init__()
        self.head_embed = nn.Embedding(num_heads, 1)
        self.pos_trans = nn.ModuleList(nn.Linear(2 * embed_dims, 2 * embed_dims) for _ in range(num_heads))
        self.pos_norms = nn.ModuleList(nn.LayerNorm(2 * embed_dims) for _ in range(num_heads))
        self.feat_trans = nn.ModuleList(nn.Linear(embed_dims, embed_dims) for _ in range(num_heads))
        self.feat_norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(num_heads))

    def init_weights(self) -> None:
        """Xavier for every matrix, as in the rest of the transformer."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, head: int, box_embed: Tensor, feats: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and their positions, (N, Q, channels) each.

        box_embed: (N, Q, 2 * channels), sine embedding of the boxes; feats: (N, Q, channels).
        """
        position, content = torch.chunk(self.pos_norms[head](self.pos_trans[head](box_embed)), 2, dim=-1)
        content = content + self.feat_norms[head](self.feat_trans[head](feats))
        return content, position + self.head_embed.weight[head]
