_base_ = "brs-atss_tiny_digits.py"
model = dict(bbox_head=dict(
    loss_cls=dict(delta=1.0, **_base_.average_precision), loss_bbox=dict(loss_weight=2.0)))
