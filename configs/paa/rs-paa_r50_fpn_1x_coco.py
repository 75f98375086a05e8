_base_ = "brs-paa_r50_fpn_1x_coco.py"
model = dict(bbox_head=_base_.pairwise)
