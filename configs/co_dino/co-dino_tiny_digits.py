_base_ = ["../co_detr/co-deformable-detr_tiny_digits.py", "../_base_/tiny_digits_dino.py"]
model = _base_.dino
model.bbox_head = _base_.dino_head
