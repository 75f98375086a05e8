# As published, method="bucketed": inexact for delta > 0.
_base_ = ["paa_r50_fpn_1x_coco.py", "../_base_/ranking/dense.py"]
model = dict(bbox_head=dict(type="RankingPAAHead", anchor_generator=_base_.three_anchors, **_base_.ranking))
optim_wrapper = dict(optimizer=dict(lr=_base_.ranking_lr))
