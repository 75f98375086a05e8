# LVIS v1, 1203 classes; reading it needs `pip install git+https://github.com/lvis-dataset/lvis-api.git`.
_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py", "mmdet::_base_/datasets/lvis_v1_instance.py",
    "mmdet::_base_/schedules/schedule_1x.py", "../_base_/backbones/resnet.py", "../_base_/float32_rois.py",
    "../_base_/ranking/mask.py", "../_base_/runtime.py"]
model = _base_.ranking
model.roi_head.update(_base_.float32_rois_and_masks)
model.backbone = _base_.resnet50
model.roi_head.bbox_head.num_classes = 1203
model.roi_head.mask_head.num_classes = 1203
model.test_cfg.rcnn = dict(score_thr=1e-4, max_per_img=300)  # of LVIS: no class may be cut off

train_pipeline = [dict(type="LoadImage"), *_base_.train_pipeline[1:]]
test_pipeline = [dict(type="LoadImage"), *_base_.test_pipeline[1:]]
train_dataloader = dict(batch_size=4, num_workers=4, dataset=dict(dataset=dict(pipeline=train_pipeline)))  # x 4 GPUs
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=_base_.ranking_lr))
default_hooks = dict(checkpoint=dict(save_best="lvis/bbox_AP"))
