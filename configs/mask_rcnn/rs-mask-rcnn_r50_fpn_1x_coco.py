# Rank & Sort Loss summed over all pairs: the values of method="exact", at the original's cost.
_base_ = "brs-mask-rcnn_r50_fpn_1x_coco.py"
model = _base_.pairwise
