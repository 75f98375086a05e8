# Co-Deformable-DETR with ResNet-50: the baseline, as released.
_base_ = "co_assignment.py"
num_classes = 80
loss_scale = 12  # auxiliary heads: 6 decoder layers x 2
giou = dict(type="GIoULoss", loss_weight=2.0)
focal = dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25)
deltas = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])
attention = dict(embed_dims=256, num_heads=8, attn_drop=0.0)
deformable = dict(embed_dims=256, num_levels=4, dropout=0.0)
ffn = dict(embed_dims=256, feedforward_channels=2048, ffn_drop=0.0)
model = dict(
    type="CoDETR", num_queries=300, num_feature_levels=4,
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True, pad_size_divisor=1),
    backbone=dict(
        type="ResNet", depth=50, num_stages=4, out_indices=(1, 2, 3), frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=False), norm_eval=True, style="pytorch",
        init_cfg=dict(type="PretrainedWeights", checkpoint="torchvision://resnet50")),
    neck=dict(
        type="ChannelMapper", in_channels=[512, 1024, 2048], kernel_size=1, out_channels=256,
        act_cfg=None, norm_cfg=dict(type="GN", num_groups=32), num_outs=4),
    encoder=dict(num_layers=6, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=6, return_intermediate=True, post_norm_cfg=None,
        layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=deformable, ffn_cfg=ffn)),
    positional_encoding=dict(num_feats=128, normalize=True, offset=-0.5, temperature=10000),
    bbox_head=dict(
        type="CoDETRHead", num_classes=num_classes, sync_cls_avg_factor=True,
        loss_cls=dict(loss_weight=2.0, **focal), loss_bbox=dict(type="L1Loss", loss_weight=5.0), loss_iou=giou),
    rpn_head=dict(
        type="RPNHead", in_channels=256, feat_channels=256,
        anchor_generator=dict(
            type="AnchorGenerator", octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=loss_scale),
        loss_bbox=dict(type="L1Loss", loss_weight=loss_scale)),
    roi_head=dict(
        type="CoRoIHead",
        bbox_roi_extractor=dict(
            type="Float32RoIExtractor", roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
            out_channels=256, featmap_strides=[8, 16, 32, 64], finest_scale=112),
        bbox_head=dict(
            type="Shared2FCBBoxHead", in_channels=256, fc_out_channels=1024, roi_feat_size=7,
            num_classes=num_classes, bbox_coder=deltas, reg_decoded_bbox=True,
            loss_cls=dict(type="CrossEntropyLoss", loss_weight=loss_scale),
            loss_bbox=dict(type="GIoULoss", loss_weight=10 * loss_scale))),
    atss_head=dict(
        type="CoATSSHead", num_classes=num_classes, in_channels=256, feat_channels=256, stacked_convs=1,
        anchor_generator=dict(
            type="AnchorGenerator", ratios=[1.0], octave_base_scale=8, scales_per_octave=1,
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=deltas, loss_cls=dict(loss_weight=loss_scale, **focal),
        loss_bbox=dict(type="GIoULoss", loss_weight=2 * loss_scale),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=loss_scale)))
