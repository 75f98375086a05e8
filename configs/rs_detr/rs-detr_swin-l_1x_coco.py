_base_ = ["../brs_detr/brs-detr_swin-l_1x_coco.py", "../_base_/models/pairwise.py"]
model = _base_.pairwise
