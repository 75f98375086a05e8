"""COCO as mmdet's classical detectors take it: at most 1333 x 800 pixels, with flips."""

_base_ = "mmdet::_base_/datasets/coco_detection.py"

train_pipeline = [dict(type="LoadImage"), *_base_.train_pipeline[1:]]
test_pipeline = [dict(type="LoadImage"), *_base_.test_pipeline[1:]]

train_dataloader = dict(batch_size=4, num_workers=4, dataset=dict(pipeline=train_pipeline))  # x 4 GPUs
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(type="CocoMetricWithThreshold")
test_evaluator = dict(type="CocoMetricWithThreshold")
