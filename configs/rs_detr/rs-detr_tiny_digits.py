_base_ = ["../brs_detr/brs-detr_tiny_digits.py", "../_base_/models/pairwise.py"]
model = _base_.pairwise
