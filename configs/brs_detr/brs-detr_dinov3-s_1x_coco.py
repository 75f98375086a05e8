# BRS-DETR with DINOv3 ViT-S/16 and a simple pyramid.
_base_ = ["brs-detr_r50_1x_coco.py", "../_base_/backbones/timm_vit_dinov3_small.py"]
model = dict(
    data_preprocessor=_base_.timm_normalisation,
    backbone=_base_.timm_backbone,
    neck=dict(in_channels=_base_.timm_channels))
