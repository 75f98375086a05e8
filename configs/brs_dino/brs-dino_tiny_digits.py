_base_ = ["../brs_detr/brs-detr_tiny_digits.py", "../_base_/tiny_digits_dino.py"]
model = _base_.dino
model.bbox_head = _base_.ranking_dino_head
