_base_ = "brs-mask-rcnn_tiny_digits.py"
model = _base_.pairwise
