_base_ = ["cascade-rcnn_tiny_digits.py", "../_base_/ranking/two_stage.py"]
model = dict(
    rpn_head=_base_.ranking.rpn_head,
    roi_head=dict(
        stage_loss_weights=[1, 1, 1],
        bbox_head=[dict(head, **_base_.stage) for head in _base_.model.roi_head.bbox_head]),
    train_cfg=dict(
        rpn=dict(sampler=None),
        rcnn=[dict(stage, sampler=dict(stage.sampler, num=10**10)) for stage in _base_.model.train_cfg.rcnn]))
