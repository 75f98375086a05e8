# aLRP Loss ranks and localises in one; the gradient of its box term reaches boxes alone.
_base_ = "brs-atss_r50_fpn_1x_coco.py"
model = dict(bbox_head=_base_.alrp)
