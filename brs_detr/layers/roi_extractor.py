"""RoI features that stay in place under mixed precision."""

from mmdet.models import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class Float32RoIExtractor(SingleRoIExtractor):
    """`SingleRoIExtractor` in float32: mmdet casts RoIs to the maps' dtype, and bfloat16 is off by pixels near 1000."""

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Features (R, channels, h, w) of RoIs (R, 5): image, xyxy in pixels. feats: (N, channels, H, W) a level."""
        return super().forward(tuple(level.float() for level in feats), rois.float(), roi_scale_factor)
