# BRS-DETR with DINOv2 ViT-S/14 and a simple pyramid. Its maps have other strides than the rest: every head is told.
_base_ = ["brs-detr_r50_1x_coco.py", "../_base_/backbones/timm_vit_dinov2_small.py"]
model = dict(
    data_preprocessor=_base_.timm_normalisation,
    backbone=_base_.timm_backbone,
    neck=dict(in_channels=_base_.timm_channels),
    rpn_head=dict(anchor_generator=dict(strides=_base_.timm_strides)),
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=_base_.timm_strides[:4], finest_scale=98)),
    atss_head=dict(anchor_generator=dict(strides=_base_.timm_strides)))
