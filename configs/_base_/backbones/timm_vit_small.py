# ViT-S/16 of timm with its ImageNet weights; a simple pyramid gives the strides that detectors want.
timm_backbone = dict(
    _delete_=True,
    type="TimmBackbone",
    model_name="vit_small_patch16_224",
    pretrained=True,
    drop_path_rate=0.1,
    pyramid=(8, 16, 32),
)
timm_channels = [384, 384, 384]
timm_normalisation = dict(mean=[127.5] * 3, std=[127.5] * 3)  # as timm says of these weights
