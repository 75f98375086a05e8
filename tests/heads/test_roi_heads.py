"""RoI features under mixed precision, and masks beside a box head that does not rank."""

import copy

import pytest
import torch
from mmdet.models import SingleRoIExtractor
from mmengine.config import Config

from benchmarks.host_reads import batch
from brs_detr.heads import Float32RoIExtractor
from tests.configs.test_configs import build_model
from tests.reference import ROOT
from tests.samples import make_batch

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


@pytest.mark.parametrize("stock", [False, True])
def test_cascade_refines_by_the_last_class_too(stock: bool) -> None:
    """mmdet takes the last column for the background's, which ranking heads do not have; with one class none is left.

    Also where a ranking loss is given to mmdet's own box head.
    """
    config = Config.fromfile(str(ROOT / "configs" / "cascade_rcnn" / "brs-cascade-rcnn_tiny_digits.py"))
    for head in config.model.roi_head.bbox_head:
        head.num_classes = 1
        if stock:
            head.update(type="Shared2FCBBoxHead", loss_cls=dict(type="APLoss", use_sigmoid=True))
            head.loss_bbox = dict(type="L1Loss")
    torch.manual_seed(0)
    model = build_model(config)
    samples = make_batch([1, 2], 1)
    losses = model(**model.data_preprocessor(copy.deepcopy(samples), training=True), mode="loss")
    assert ("s0.acc" in losses) == stock
    found = model.eval().test_step(samples)
    assert all(len(each.pred_instances) for each in found)


def test_masks_beside_a_box_head_that_does_not_rank() -> None:
    """Nothing to balance to: the masks keep their own loss."""
    ranking, stock = (
        Config.fromfile(str(ROOT / "configs" / "mask_rcnn" / f"{name}_tiny_digits.py"))
        for name in ("brs-mask-rcnn", "mask-rcnn")
    )
    ranking.model.roi_head.bbox_head = stock.model.roi_head.bbox_head
    torch.manual_seed(0)
    model = build_model(ranking).train()
    data = model.data_preprocessor(batch(), training=True)
    losses = model.loss(data["inputs"], data["data_samples"])
    assert losses["loss_mask"] > 0
    assert torch.equal(losses["loss_mask"].detach(), losses["mask_unscaled"])
