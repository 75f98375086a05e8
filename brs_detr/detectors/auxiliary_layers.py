"""What Co-DETR's transformer has and mmdet's has not: maps for auxiliary heads, and queries made of their positives."""

import torch
from mmdet.models.layers import DeformableDetrTransformerEncoder
from mmengine.model import BaseModule
from torch import Tensor, nn

from brs_detr.ops.deformable_attention import level_sizes


def encoder_reference_points(spatial_shapes: Tensor, valid_ratios: Tensor, device: torch.device) -> Tensor:
    """mmdet's of its encoder, (N, sum of H * W, levels, 2), for which the host would read each height and width.

    spatial_shapes: (levels, 2); valid_ratios: (N, levels, 2).
    """
    sizes = level_sizes(spatial_shapes)
    return DeformableDetrTransformerEncoder.get_encoder_reference_points(sizes, valid_ratios, device)


def attend_within(sizes: list[int], first: Tensor | None, device: torch.device) -> Tensor:
    """A mask of self-attention, (Q, Q), true where a query does not attend: to queries of another group.

    sizes: of the groups, one after the other. first: the mask within the first group, None if there is none.
    """
    mask = torch.ones(sum(sizes), sum(sizes), dtype=torch.bool, device=device)
    end = 0
    for size in sizes:
        start, end = end, end + size
        mask[start:end, start:end] = False
    if first is not None:
        mask[: sizes[0], : sizes[0]] = first
    return mask


def joined_queries(queries: dict[str, Tensor], others: list[dict[str, Tensor]]) -> tuple[dict[str, Tensor], list[int]]:
    """Inputs of a decoder for several groups of queries, none of which attends to another's, and the groups' sizes.

    One pass over all of them projects the memory once. queries: inputs for the first group, with what it has beside
    those of the others, a `dn_mask` among it.
    """
    groups = [queries, *others]
    sizes = [group["query"].shape[1] for group in groups]
    joined = {name: torch.cat([group[name] for group in groups], dim=1) for name in others[0]}
    mask = attend_within(sizes, queries.get("dn_mask"), queries["query"].device)
    return {**queries, **joined, "dn_mask": mask}, sizes


class MemoryMaps(BaseModule):
    """Reshapes encoder memory to one map a level and adds a coarser level by a stride-2 convolution."""

    def __init__(self, embed_dims: int, num_groups: int = 32) -> None:
        super().__init__()
        self.downsample = nn.Sequential(
            nn.Conv2d(embed_dims, embed_dims, 3, stride=2, padding=1), nn.GroupNorm(num_groups, embed_dims)
        )

    def forward(self, memory: Tensor, spatial_shapes: list[tuple[int, int]]) -> tuple[Tensor, ...]:
        """memory (N, sum of H * W, channels) -> levels + 1 maps (N, channels, H, W), finest first."""
        levels = memory.split([h * w for h, w in spatial_shapes], dim=1)
        maps = [  # not by unflatten, whose trace fixes the number of images
            level.transpose(1, 2).reshape(level.shape[0], level.shape[2], *shape)
            for level, shape in zip(levels, spatial_shapes, strict=True)
        ]
        return (*maps, self.downsample(maps[-1]))


class _XavierModule(BaseModule):
    def init_weights(self) -> None:
        """Xavier for every matrix, as in the rest of the transformer."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)


class AuxiliaryQueryEmbedding(_XavierModule):
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

    def forward(self, head: int, box_embed: Tensor, feats: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and their positions, (N, Q, channels) each.

        box_embed: (N, Q, 2 * channels), sine embedding of the boxes; feats: (N, Q, channels).
        """
        position, content = torch.chunk(self.pos_norms[head](self.pos_trans[head](box_embed)), 2, dim=-1)
        content = content + self.feat_norms[head](self.feat_trans[head](feats))
        return content, position + self.head_embed.weight[head]


class AuxiliaryContentEmbedding(_XavierModule):
    """Content alone, for a decoder that makes positions itself, as DINO's does.

    Made of the boxes of auxiliary head `head`'s positives; as released, their features are not used.
    """

    def __init__(self, num_heads: int, embed_dims: int) -> None:
        super().__init__()
        self.pos_trans = nn.ModuleList(nn.Linear(2 * embed_dims, embed_dims) for _ in range(num_heads))
        self.pos_norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(num_heads))

    def forward(self, head: int, box_embed: Tensor) -> Tensor:
        """Sine embedding of boxes (N, Q, 2 * channels) -> queries (N, Q, channels)."""
        return self.pos_norms[head](self.pos_trans[head](box_embed))
