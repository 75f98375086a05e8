# A small BRS-DETR on a pretrained EfficientNet-Lite0 of which nothing is downloaded: for your own photographs, --data.
_base_ = ["brs-detr_tiny_digits.py", "../_base_/backbones/timm_efficientnet_lite0.py"]
model = dict(
    data_preprocessor=_base_.timm_normalisation,
    backbone=_base_.timm_backbone,
    neck=dict(in_channels=_base_.timm_channels))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}))
