# Classical detectors of two million weights that learn the digits from scratch on a CPU, and their schedule.
tiny_backbone = dict(
    depth=18, base_channels=24, frozen_stages=-1, norm_eval=False, init_cfg=None)
tiny_neck = dict(in_channels=[24, 48, 96, 192], out_channels=64, start_level=1, num_outs=3)
tiny_anchors = dict(strides=[8, 16, 32])
tiny_proposals = dict(nms_pre=300, max_per_img=64)
tiny_threshold = dict(score_thr=0.0)  # a ranking loss orders scores, and says little of how high they are
tiny_roi_head = dict(in_channels=64, fc_out_channels=128, num_classes=10)
tiny_two_stage = dict(
    backbone=tiny_backbone, neck=tiny_neck,
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[3], **tiny_anchors)),
    roi_head=dict(
        bbox_roi_extractor=dict(
            type="Float32RoIExtractor", roi_layer=dict(sampling_ratio=1), out_channels=64,
            featmap_strides=[8, 16, 32], finest_scale=28),
        bbox_head=tiny_roi_head),
    train_cfg=dict(rpn_proposal=tiny_proposals), test_cfg=dict(rpn=tiny_proposals, rcnn=tiny_threshold))
tiny_dense = dict(
    backbone=tiny_backbone, neck=tiny_neck,
    bbox_head=dict(
        in_channels=64, feat_channels=64, stacked_convs=2, num_classes=10,
        anchor_generator=dict(octave_base_scale=3, scales_per_octave=3, **tiny_anchors)),
    test_cfg=dict(nms_pre=300, **tiny_threshold))

optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="OnePassAdamW", lr=2e-3, weight_decay=1e-4, fused=True),
    clip_grad=dict(max_norm=10, norm_type=2))
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=8, val_interval=2)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=0, end=8, T_max=8, eta_min=1e-5, convert_to_iter_based=True)]
