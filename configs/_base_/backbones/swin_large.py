# Swin-L, ImageNet-22k at 384 pixels, as published by Microsoft.
swin = dict(
    _delete_=True, type="Swin", pretrain_img_size=384, embed_dims=192, depths=[2, 2, 18, 2],
    num_heads=[6, 12, 24, 48], window_size=12, drop_path_rate=0.3, patch_norm=True, out_indices=(1, 2, 3),
    init_cfg=dict(
        type="PretrainedWeights",
        checkpoint="https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
        "swin_large_patch4_window12_384_22k.pth"))
swin_channels = [384, 768, 1536]
