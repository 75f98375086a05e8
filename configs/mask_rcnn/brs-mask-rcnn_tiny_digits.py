_base_ = ["mask-rcnn_tiny_digits.py", "../_base_/ranking/mask.py"]
model = _base_.ranking
model.test_cfg.rcnn = _base_.tiny_threshold
