# A model of 4 million weights that learns the digits from scratch on a CPU, and its schedule.
_attention = dict(embed_dims=128)
_ffn = dict(embed_dims=128, feedforward_channels=256)
tiny_model = dict(
    num_queries=60,
    backbone=dict(
        depth=18, base_channels=24, frozen_stages=-1, norm_cfg=dict(requires_grad=True), norm_eval=False,
        init_cfg=None),
    neck=dict(in_channels=[48, 96, 192], out_channels=128),
    encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=_attention, ffn_cfg=_ffn)),
    decoder=dict(
        num_layers=2, layer_cfg=dict(self_attn_cfg=_attention, cross_attn_cfg=_attention, ffn_cfg=_ffn)),
    positional_encoding=dict(num_feats=64),
    bbox_head=dict(embed_dims=128, num_classes=10),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128, finest_scale=56, roi_layer=dict(sampling_ratio=1)),
        bbox_head=dict(in_channels=128, fc_out_channels=128, num_classes=10)),
    atss_head=dict(in_channels=128, feat_channels=128, num_classes=10),
    train_cfg=dict(rpn_proposal=dict(nms_pre=300, max_per_img=40)),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100)))
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="OnePassAdamW", lr=1e-3, weight_decay=1e-4, fused=True),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(custom_keys={"sampling_offsets": dict(lr_mult=0.1)}))
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=10, val_interval=2)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=0, end=10, T_max=10, eta_min=1e-5, convert_to_iter_based=True)]
