_base_ = [
    "../_base_/models/ddq_detr_r50.py", "../_base_/coco_detr.py", "../_base_/schedule_1x_dino.py",
    "../_base_/runtime.py"]
optim_wrapper = dict(optimizer=dict(weight_decay=0.05))
param_scheduler = [dict(type="LinearLR", start_factor=1e-4, by_epoch=False, begin=0, end=2000), *_base_.param_scheduler]
train_dataloader = dict(batch_size=2)  # 8 GPUs x 2
