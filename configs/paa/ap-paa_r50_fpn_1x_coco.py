_base_ = "bap-paa_r50_fpn_1x_coco.py"
model = dict(bbox_head=dict(loss_cls=_base_.original_ap))
