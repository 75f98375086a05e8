# DINOv3 ViT-S/16 of timm with its own weights; rotary positions take images of any size.
timm_backbone = dict(
    _delete_=True,
    type="TimmBackbone",
    model_name="vit_small_patch16_dinov3",
    pretrained=True,
    drop_path_rate=0.1,
    out_norm=True,
    pyramid=(8, 16, 32),
)
timm_channels = [384, 384, 384]
timm_normalisation = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], pad_size_divisor=32)
