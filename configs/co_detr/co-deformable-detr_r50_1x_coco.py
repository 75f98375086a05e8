_base_ = [
    "../_base_/models/co_deformable_detr_r50.py", "../_base_/coco_detr.py",
    "../_base_/schedule_1x.py", "../_base_/runtime.py"]
