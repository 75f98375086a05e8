_base_ = ["co-deformable-detr_r50_1x_coco.py", "../_base_/backbones/swin_large.py"]
model = dict(backbone=_base_.swin, neck=dict(in_channels=_base_.swin_channels))
optim_wrapper = dict(optimizer=dict(weight_decay=0.05))
