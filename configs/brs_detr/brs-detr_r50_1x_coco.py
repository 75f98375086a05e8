_base_ = [
    "../_base_/models/brs_detr_r50.py", "../_base_/coco_detr.py",
    "../_base_/schedule_1x_brs.py", "../_base_/runtime.py"]
