_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py", "../_base_/digits.py",
    "../_base_/tiny_digits_classical.py", "../_base_/runtime.py"]
model = _base_.tiny_two_stage
