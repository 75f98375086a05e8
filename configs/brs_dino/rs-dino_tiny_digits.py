_base_ = ["brs-dino_tiny_digits.py", "../_base_/models/pairwise.py"]
model = _base_.pairwise
