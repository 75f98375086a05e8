# As published, method="bucketed": inexact for delta > 0.
_base_ = "brs-atss_r50_fpn_1x_coco.py"
model = dict(bbox_head=dict(
    loss_cls=dict(delta=1.0, **_base_.average_precision), loss_bbox=dict(loss_weight=2.0)))
