_base_ = "brs-cascade-rcnn_tiny_digits.py"
model = dict(
    rpn_head=_base_.pairwise.rpn_head,
    roi_head=dict(bbox_head=[
        dict(head, loss_cls=dict(head.loss_cls, method="pairwise")) for head in _base_.model.roi_head.bbox_head]))
