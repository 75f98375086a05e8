_base_ = "brs-paa_tiny_digits.py"
model = dict(bbox_head=_base_.pairwise)
