"""timm's Swin on images of any size, as detectors use it."""

import torch.nn.functional as F
from timm.layers import to_2tuple
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn


class DetectionSwinBlock(SwinTransformerBlock):
    """A Swin block that pads to whole windows before the shift, as Microsoft's detectors and mmdet do.

    timm shifts first, so that the windows at the right and lower edges hold other pixels.
    """

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window_height, window_width = self.window_size
        padded = F.pad(x, (0, 0, 0, -width % window_width, 0, -height % window_height))
        return super()._attn(padded)[:, :height, :width]


def use_as_detector(model: nn.Module) -> None:
    """Let the Swin blocks of a timm model partition and shift maps of any size, even below a window."""
    for block in model.modules():
        if type(block) is SwinTransformerBlock:
            block.__class__ = DetectionSwinBlock
            size = to_2tuple(block.input_resolution)
            block.set_input_size(size, block.window_size, always_partition=True)
