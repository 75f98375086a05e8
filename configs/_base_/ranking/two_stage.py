# Rank & Sort Loss in a two-stage detector: the RPN's anchors are ranked, then the RoIs, and no sample is left out.
_base_ = "losses.py"
_max_iou = dict(type="VectorizedMaxIoUAssigner")
_losses = dict(loss_cls=dict(_delete_=True, **_base_.rank_sort), loss_bbox=dict(_delete_=True, **_base_.giou))
ranking = dict(
    rpn_head=dict(
        type="RankingRPNHead", bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        **dict(_losses, loss_cls=dict(loss_weight=0.2, **_losses["loss_cls"]))),
    roi_head=dict(bbox_head=dict(type="RankingBBoxHead", **_losses)),
    train_cfg=dict(
        rpn=dict(assigner=_max_iou, sampler=dict(_delete_=True, type="OneReadPseudoSampler")),
        rcnn=dict(assigner=_max_iou, sampler=dict(num=10**10))),
    test_cfg=dict(rcnn=dict(score_thr=0.4)))  # as published: quicker, for 0.01 AP
stage = dict(  # of Cascade R-CNN: the same stds in every stage
    type="RankingBBoxHead", loss_cls=_base_.rank_sort, loss_bbox=_base_.giou,
    bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2]))
ranking_lr = 0.012
pairwise = dict(  # the same values, at the cost of the original Rank & Sort Loss
    rpn_head=dict(loss_cls=dict(method="pairwise")),
    roi_head=dict(bbox_head=dict(loss_cls=dict(method="pairwise"))))
