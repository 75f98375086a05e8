# What Co-DINO has otherwise than Co-Deformable-DETR: DINO's transformer, five levels from stride 4 on.
_strides = [4, 8, 16, 32, 64, 128]
dino_head = dict(
    type="CoDINOHead",
    loss_cls=dict(_delete_=True, type="QualityFocalLoss", use_sigmoid=True, beta=2.0, loss_weight=1.0))
ranking_dino_head = dict(  # boxes weighted as the baseline's: better on the digits than balanced to the ranking
    type="RankingCoDINOHead", balance_boxes=False,
    loss_cls=dict(loss_weight=1.0), loss_bbox=dict(loss_weight=5.0), loss_iou=dict(loss_weight=2.0))
dino = dict(
    type="CoDINO", num_queries=900, num_feature_levels=5,
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[256, 512, 1024, 2048], num_outs=5),
    encoder=dict(layer_cfg=dict(self_attn_cfg=dict(num_levels=5))),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=dict(num_levels=5))),
    positional_encoding=dict(offset=0.0, temperature=20),
    dn_cfg=dict(
        label_noise_scale=0.5, box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100)),
    rpn_head=dict(anchor_generator=dict(strides=_strides)),
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=_strides[:5], finest_scale=56)),
    atss_head=dict(anchor_generator=dict(strides=_strides)),
    test_cfg=dict(detr=dict(max_per_img=300, nms=dict(type="soft_nms", iou_threshold=0.8))))
