_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py", "mmdet::_base_/schedules/schedule_1x.py",
    "../_base_/backbones/resnet.py", "../_base_/float32_rois.py", "../_base_/coco_instance.py", "../_base_/runtime.py"]
model = dict(backbone=_base_.resnet50, roi_head=_base_.float32_rois_and_masks)
