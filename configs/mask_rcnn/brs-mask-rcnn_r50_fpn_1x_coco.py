# The published bucketed loss: method="bucketed" in both loss_cls; it is inexact for delta > 0.
_base_ = ["mask-rcnn_r50_fpn_1x_coco.py", "../_base_/ranking/mask.py"]
model = _base_.ranking
optim_wrapper = dict(optimizer=dict(lr=_base_.ranking_lr))
