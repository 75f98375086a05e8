# Makes the tiny model a Co-DINO: five levels, but from stride 8 on, and a fifth of the denoising queries.
_base_ = "models/dino.py"
_tiny_strides = [8, 16, 32, 64, 128, 256]
dino = dict(
    num_queries=60,
    backbone=dict(out_indices=(1, 2, 3)),
    neck=dict(in_channels=[48, 96, 192]),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
    rpn_head=dict(anchor_generator=dict(strides=_tiny_strides)),
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=_tiny_strides[:5])),
    atss_head=dict(anchor_generator=dict(strides=_tiny_strides)),
    test_cfg=dict(detr=dict(max_per_img=100)))
