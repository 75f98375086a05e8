"""Swin Transformers of mmdet and of timm as detectors use them."""

import torch.nn.functional as F
from mmdet.models.backbones import SwinTransformer
from mmdet.registry import MODELS
from mmengine.model import initialize
from timm.layers import to_2tuple
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

import brs_detr.weights  # noqa: F401  registers the initializer PretrainedWeights


@MODELS.register_module()
class Swin(SwinTransformer):
    """mmdet's `SwinTransformer`, whose `init_cfg` may name any initializer, such as `PretrainedWeights`.

    mmdet's own accepts `Pretrained` alone, and takes without a word a file that does not fit.
    """

    def init_weights(self) -> None:
        if self.init_cfg:
            initialize(self, self.init_cfg)
        else:
            super().init_weights()


class DetectionSwinBlock(SwinTransformerBlock):
    """timm's Swin block, but padded to whole windows before the shift, as in Microsoft's detectors and mmdet.

    timm itself shifts first, so that the windows at the right and lower edges hold other pixels.
    """

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window_height, window_width = self.window_size
        padded = F.pad(x, (0, 0, 0, -width % window_width, 0, -height % window_height))
        return super()._attn(padded)[:, :height, :width]


def support_any_size(model: nn.Module) -> None:
    """Let the Swin blocks of a timm model partition and shift maps of any size, even below a window."""
    for block in model.modules():
        if type(block) is SwinTransformerBlock:
            block.__class__ = DetectionSwinBlock
            size = to_2tuple(block.input_resolution)
            block.set_input_size(size, block.window_size, always_partition=True)
