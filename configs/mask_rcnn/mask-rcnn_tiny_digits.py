_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py", "../_base_/digits_instance.py",
    "../_base_/tiny_digits_classical.py", "../_base_/runtime.py"]
model = _base_.tiny_two_stage
model.roi_head.mask_roi_extractor = dict(
    type="Float32RoIExtractor", roi_layer=dict(sampling_ratio=1), out_channels=64,
    featmap_strides=[8, 16, 32], finest_scale=28)
model.roi_head.mask_head = dict(num_convs=2, in_channels=64, conv_out_channels=64, num_classes=10)
