"""Maps of several strides from one of a plain ViT (ViTDet; Li et al., ECCV 2022, figure 2)."""

import math
from collections.abc import Sequence

from torch import Tensor, nn


class SimplePyramid(nn.Module):
    """From a map (N, C, H, W) of stride s maps (N, C, H s / t, W s / t) for every stride t in `strides`.

    Finer maps by transposed 2 x 2 convolutions, coarser ones by max pooling.

    Raises:
        ValueError: a stride is not `stride` times or divided by a power of 2.
    """

    def __init__(self, channels: int, stride: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level(channels, stride, wanted) for wanted in strides)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(level(x) for level in self.levels)


def _level(channels: int, stride: int, wanted: int) -> nn.Module:
    doublings = math.log2(stride / wanted)
    if not doublings.is_integer():
        raise ValueError(f"No map of stride {wanted} from one of stride {stride}: their ratio is no power of 2.")
    if doublings <= 0:
        return nn.Sequential(*(nn.MaxPool2d(2, ceil_mode=True) for _ in range(-int(doublings))))
    layers: list[nn.Module] = []
    for _ in range(int(doublings)):
        layers += [nn.ConvTranspose2d(channels, channels, 2, stride=2), nn.GroupNorm(1, channels), nn.GELU()]
    return nn.Sequential(*layers[:-2])
