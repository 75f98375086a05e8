_base_ = "bap-paa_tiny_digits.py"
model = dict(bbox_head=dict(loss_cls=_base_.original_ap))
