_base_ = [
    "../_base_/models/dino_r50.py", "../_base_/coco_detr.py", "../_base_/schedule_1x_dino.py",
    "../_base_/runtime.py"]
optim_wrapper = dict(optimizer=dict(lr=1e-4))
train_dataloader = dict(batch_size=2)  # 8 GPUs x 2
