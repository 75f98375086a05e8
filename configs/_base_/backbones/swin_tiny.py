# Swin-T, ImageNet-1k, as published by Microsoft.
swin = dict(
    _delete_=True, type="Swin", embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24],
    window_size=7, drop_path_rate=0.2, patch_norm=True, out_indices=(1, 2, 3),
    init_cfg=dict(
        type="PretrainedWeights",
        checkpoint="https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
        "swin_tiny_patch4_window7_224.pth"))
swin_channels = [192, 384, 768]
