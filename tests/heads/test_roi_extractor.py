"""RoI features under mixed precision."""

import torch
from mmdet.models import SingleRoIExtractor

from brs_detr.heads import Float32RoIExtractor

SETTINGS = dict(roi_layer=dict(type="RoIAlign", output_size=2, sampling_ratio=1), out_channels=1, featmap_strides=[8])


def test_rois_are_not_rounded() -> None:
    """A map that holds each place's own x; near 1000 bfloat16 knows every fourth pixel."""
    columns = torch.arange(160.0).expand(1, 1, 160, 160).bfloat16()
    rois = torch.tensor([[0, 961.0, 961.0, 1021.0, 1021.0]])
    exact = Float32RoIExtractor(**SETTINGS)((columns,), rois)
    assert exact.dtype == torch.float32
    torch.testing.assert_close(exact, SingleRoIExtractor(**SETTINGS)((columns.float(),), rois))
    rounded = SingleRoIExtractor(**SETTINGS)((columns.float(),), rois.bfloat16().float())
    assert (exact - rounded).abs().max() > 0.1
