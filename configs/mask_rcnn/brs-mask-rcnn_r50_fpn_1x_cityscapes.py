# Cityscapes, 8 classes, 64 epochs (8 of a data set repeated 8 times) of batches of 8 images; mmdet starts from a
# detector trained on COCO, for which there is --load-from.
_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py", "mmdet::_base_/datasets/cityscapes_instance.py",
    "mmdet::_base_/schedules/schedule_1x.py", "../_base_/backbones/resnet.py", "../_base_/float32_rois.py",
    "../_base_/ranking/mask.py", "../_base_/runtime.py"]
model = _base_.ranking
model.roi_head.update(_base_.float32_rois_and_masks)
model.backbone = _base_.resnet50
model.roi_head.bbox_head.num_classes = 8
model.roi_head.mask_head.num_classes = 8

train_pipeline = [dict(type="LoadImage"), *_base_.train_pipeline[1:]]
test_pipeline = [dict(type="LoadImage"), *_base_.test_pipeline[1:]]
train_dataloader = dict(batch_size=2, dataset=dict(dataset=dict(pipeline=train_pipeline)))  # x 4 GPUs
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# without the metric of Cityscapes' own scripts, another package
val_evaluator = dict(_delete_=True, **_base_.val_evaluator[0] | dict(type="CocoMetricWithThreshold"))
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=_base_.ranking_lr / 2))  # half of COCO's batch
train_cfg = dict(max_epochs=8)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=8, by_epoch=True, milestones=[7], gamma=0.1)]
