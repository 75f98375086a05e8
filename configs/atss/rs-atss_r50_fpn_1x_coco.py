_base_ = "brs-atss_r50_fpn_1x_coco.py"
model = dict(bbox_head=_base_.pairwise)
