# mmdet's DINO with four scales and ResNet-50, in the parts that it shares with Co-Deformable-DETR; and its schedule.
_base_ = "co_deformable_detr_r50.py"
_co_detr = _base_.model
model = dict(
    _delete_=True, type="DINO", num_queries=900, with_box_refine=True, as_two_stage=True,
    data_preprocessor=_co_detr.data_preprocessor, backbone=_co_detr.backbone, neck=_co_detr.neck,
    encoder=_co_detr.encoder, decoder=_co_detr.decoder,
    positional_encoding=dict(num_feats=128, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type="DINOHead", num_classes=80, sync_cls_avg_factor=True,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=5.0), loss_iou=dict(type="GIoULoss", loss_weight=2.0)),
    dn_cfg=dict(
        label_noise_scale=0.5, box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100)),
    train_cfg=_co_detr.train_cfg.detr, test_cfg=dict(max_per_img=300))
