_base_ = [
    "mmdet::_base_/models/cascade-rcnn_r50_fpn.py", "../_base_/digits.py",
    "../_base_/tiny_digits_classical.py", "../_base_/runtime.py"]
model = _base_.tiny_two_stage
model.roi_head.bbox_head = [dict(head, **_base_.tiny_roi_head) for head in _base_.model.roi_head.bbox_head]
