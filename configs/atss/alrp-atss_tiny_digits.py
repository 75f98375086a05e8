_base_ = "brs-atss_tiny_digits.py"
model = dict(bbox_head=_base_.alrp)
