# The quick start: the small BRS-DETR with distinct queries, box losses of fixed weights, two images a step at the size
# that is evaluated, and duplicates suppressed. docs/training.md says what is published and what each change brings.
_base_ = "brs-detr_tiny_digits.py"
model = dict(
    query_nms=0.5,
    bbox_head=dict(balance_boxes=False, loss_bbox=dict(loss_weight=5.0), loss_iou=dict(loss_weight=2.0)),
    test_cfg=dict(detr=dict(nms=dict(type="nms", iou_threshold=0.7))))
train_pipeline = _base_.train_pipeline
train_pipeline[2].scales = [(160, 160)]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=8)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=8, T_max=8)
