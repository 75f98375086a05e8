_base_ = "brs-faster-rcnn_r50_fpn_1x_coco.py"
model = _base_.pairwise
