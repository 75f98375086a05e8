_base_ = [
    "../_base_/models/co_deformable_detr_r50.py", "../_base_/digits.py",
    "../_base_/tiny_digits.py", "../_base_/runtime.py"]
model = _base_.tiny_model
