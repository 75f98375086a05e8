# DINOv2 ViT-S/14 of timm with its own weights. Patches of 14 pixels make strides of 7, 14 and 28, which the heads must
# know: configs/brs_detr/brs-detr_dinov2-s_1x_coco.py says where. Images of any size, padded to whole patches.
timm_backbone = dict(
    _delete_=True,
    type="TimmBackbone",
    model_name="vit_small_patch14_dinov2",
    pretrained=True,
    drop_path_rate=0.1,
    out_norm=True,
    pyramid=(7, 14, 28),
)
timm_channels = [384, 384, 384]
timm_strides = [7, 14, 28, 56, 112]
timm_normalisation = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], pad_size_divisor=28)
