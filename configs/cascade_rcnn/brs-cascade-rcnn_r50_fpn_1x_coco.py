# As published, method="bucketed" in every loss_cls: inexact for delta > 0.
_base_ = ["cascade-rcnn_r50_fpn_1x_coco.py", "../_base_/ranking/two_stage.py"]
model = dict(
    rpn_head=_base_.ranking.rpn_head,
    roi_head=dict(
        stage_loss_weights=[1, 1, 1],
        bbox_head=[dict(head, **_base_.stage) for head in _base_.model.roi_head.bbox_head]),
    train_cfg=dict(
        rpn=dict(sampler=None), rpn_proposal=dict(max_per_img=1000),
        rcnn=[dict(stage, sampler=dict(stage.sampler, num=10**10)) for stage in _base_.model.train_cfg.rcnn]),
    test_cfg=_base_.ranking.test_cfg)
optim_wrapper = dict(optimizer=dict(lr=_base_.ranking_lr))
