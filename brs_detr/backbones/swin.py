"""mmdet's Swin Transformer with every initializer."""

from mmdet.models.backbones import SwinTransformer
from mmdet.registry import MODELS
from mmengine.model import initialize

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
