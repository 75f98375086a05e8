"""A plain mmdet DINO with one encoder and one decoder layer: the smallest that trains like the real ones."""

_base_ = ["../../configs/_base_/digits.py", "../../configs/_base_/runtime.py"]
attention = dict(embed_dims=256, num_levels=2, dropout=0.0)
ffn = dict(embed_dims=256, feedforward_channels=64, ffn_drop=0.0)
model = dict(
    type="DINO",
    num_queries=20,
    num_feature_levels=2,
    with_box_refine=True,
    as_two_stage=True,
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4], bgr_to_rgb=True
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(1, 2),
    ),
    neck=dict(type="ChannelMapper", in_channels=[32, 64], kernel_size=1, out_channels=256, act_cfg=None, num_outs=2),
    encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=1,
        return_intermediate=True,
        layer_cfg=dict(self_attn_cfg=dict(embed_dims=256, num_heads=8), cross_attn_cfg=attention, ffn_cfg=ffn),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=128, normalize=True),
    bbox_head=dict(
        type="DINOHead",
        num_classes=10,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True),
        loss_bbox=dict(type="L1Loss", loss_weight=5.0),
        loss_iou=dict(type="GIoULoss", loss_weight=2.0),
    ),
    dn_cfg=dict(group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=10)),
    train_cfg=dict(
        assigner=dict(
            type="HungarianAssigner",
            match_costs=[dict(type="FocalLossCost"), dict(type="BBoxL1Cost"), dict(type="IoUCost")],
        )
    ),
    test_cfg=dict(max_per_img=20),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-4))
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
