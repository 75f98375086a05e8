_base_ = "brs-paa_tiny_digits.py"
model = dict(bbox_head=dict(
    loss_cls=dict(delta=0.5, **_base_.average_precision), loss_bbox=dict(loss_weight=1.0)))
