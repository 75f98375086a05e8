_base_ = ["faster-rcnn_tiny_digits.py", "../_base_/ranking/two_stage.py"]
model = _base_.ranking
model.test_cfg.rcnn = _base_.tiny_threshold
