# ConvNeXt-T of timm with its ImageNet-1k weights. Used like swin_tiny.py: backbone=_base_.timm_backbone,
# neck=dict(in_channels=_base_.timm_channels), and data_preprocessor=_base_.timm_normalisation: its normalisation.
timm_backbone = dict(
    _delete_=True,
    type="TimmBackbone",
    model_name="convnext_tiny",
    pretrained=True,
    drop_path_rate=0.2,
    out_norm=True,
)
timm_channels = [192, 384, 768]
timm_normalisation = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
