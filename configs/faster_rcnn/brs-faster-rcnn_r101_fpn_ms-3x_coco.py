# 36 epochs with shorter sides of 640 to 800 pixels.
_base_ = "brs-faster-rcnn_r50_fpn_1x_coco.py"
model = dict(backbone=_base_.resnet101)

resize = dict(type="RandomResize", scale=[(1333, 640), (1333, 800)], keep_ratio=True)
train_pipeline = [resize if step.type == "Resize" else step for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1)]
