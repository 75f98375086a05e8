# As published: deformable convolutions with masks in stages 3 to 5, and shorter sides of 480 to 960 pixels.
_base_ = "brs-faster-rcnn_r101_fpn_ms-3x_coco.py"
model = dict(backbone=dict(
    dcn=dict(type="DCNv2", deform_groups=4, fallback_on_stride=False), stage_with_dcn=(False, True, True, True)))

resize = dict(type="RandomChoiceResize", scales=[(1333, side) for side in range(480, 961, 80)], keep_ratio=True)
train_pipeline = [resize if step.type == "RandomResize" else step for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
