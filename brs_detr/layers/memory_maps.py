"""The encoder's memory as feature maps for convolutional heads."""

from mmengine.model import BaseModule
from torch import Tensor, nn


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
        maps = [level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(levels, spatial_shapes, strict=True)]
        return (*maps, self.downsample(maps[-1]))
