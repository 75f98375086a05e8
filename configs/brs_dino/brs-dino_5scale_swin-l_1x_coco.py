_base_ = ["brs-dino_5scale_r50_1x_coco.py", "../_base_/backbones/swin_large.py"]
_base_.swin.out_indices = (0, 1, 2, 3)
model = dict(backbone=_base_.swin, neck=dict(in_channels=[192, *_base_.swin_channels]))
train_dataloader = dict(batch_size=1)  # 16 GPUs x 1
