# The digits with any timm backbone; here ConvNeXt-Atto, from scratch.
_base_ = ["brs-detr_tiny_digits.py", "../_base_/backbones/timm_convnext_atto.py"]
model = dict(backbone=_base_.timm_backbone, neck=dict(in_channels=_base_.timm_channels))
