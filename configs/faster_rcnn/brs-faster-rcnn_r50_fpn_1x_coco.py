# As published, method="bucketed" in both loss_cls: inexact for delta > 0.
_base_ = ["faster-rcnn_r50_fpn_1x_coco.py", "../_base_/ranking/two_stage.py"]
model = _base_.ranking
optim_wrapper = dict(optimizer=dict(lr=_base_.ranking_lr))
