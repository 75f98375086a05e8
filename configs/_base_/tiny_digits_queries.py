# Makes DINO and DDQ-DETR tiny in all but their width, which mmdet's DINO fixes at 256 channels.
_narrow_ffn = dict(feedforward_channels=256)
tiny_queries = dict(
    num_queries=60,
    backbone=dict(
        depth=18, base_channels=24, frozen_stages=-1, norm_cfg=dict(requires_grad=True), norm_eval=False,
        init_cfg=None),
    neck=dict(in_channels=[48, 96, 192]),
    encoder=dict(num_layers=1, layer_cfg=dict(ffn_cfg=_narrow_ffn)),
    decoder=dict(num_layers=2, layer_cfg=dict(ffn_cfg=_narrow_ffn)),
    bbox_head=dict(num_classes=10),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
    test_cfg=dict(max_per_img=100))
