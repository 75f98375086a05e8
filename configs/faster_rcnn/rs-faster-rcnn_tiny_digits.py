_base_ = "brs-faster-rcnn_tiny_digits.py"
model = _base_.pairwise
