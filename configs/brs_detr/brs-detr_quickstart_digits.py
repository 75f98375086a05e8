# The quick start: the small BRS-DETR with distinct queries, box losses of fixed weights and two images a step.
# docs/training.md says what is published and what these changes bring.
_base_ = "brs-detr_tiny_digits.py"
model = dict(
    query_nms=0.5,
    bbox_head=dict(balance_boxes=False, loss_bbox=dict(loss_weight=5.0), loss_iou=dict(loss_weight=2.0)))
train_dataloader = dict(batch_size=2)
auto_scale_lr = dict(base_batch_size=2)
train_cfg = dict(max_epochs=9)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=9, T_max=9)
