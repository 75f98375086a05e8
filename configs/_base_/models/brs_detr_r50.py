# BRS-DETR with ResNet-50: Co-Deformable-DETR in which every classification ranks.
_base_ = "co_deformable_detr_r50.py"
rank_sort = dict(_delete_=True, type="RankSortLoss", use_sigmoid=True, delta=0.5, method="exact")
balanced_giou = dict(
    _delete_=True, type="GIoULoss", loss_weight=1.0
)  # the heads balance it to the ranking loss
balanced_l1 = dict(_delete_=True, type="L1Loss", loss_weight=1.0)
model = dict(
    bbox_head=dict(
        type="RankingDETRHead",
        loss_cls=dict(loss_weight=2.0, **rank_sort),
        loss_bbox=balanced_l1,
        loss_iou=balanced_giou,
    ),
    rpn_head=dict(
        type="RankingRPNHead",
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(loss_weight=1.0, **rank_sort),  # weight 5 x head weight 0.2
        loss_bbox=balanced_giou,
    ),
    roi_head=dict(
        bbox_head=dict(
            type="RankingBBoxHead", loss_cls=dict(loss_weight=5.0, **rank_sort), loss_bbox=balanced_giou
        )
    ),
    atss_head=dict(
        type="RankingCoATSSHead", loss_cls=dict(loss_weight=5.0, **rank_sort), loss_bbox=balanced_giou
    ),
    train_cfg=dict(
        detr=dict(
            assigner=dict(
                match_costs=[
                    dict(type="FocalLossCost", weight=4.0),
                    dict(type="BBoxL1Cost", weight=5.0, box_format="xywh"),
                    dict(type="IoUCost", iou_mode="giou", weight=2.0),
                ]
            )
        ),
        rpn=dict(sampler=dict(_delete_=True, type="OneReadPseudoSampler")),
        rcnn=dict(sampler=dict(_delete_=True, type="OneReadPseudoSampler"))))
