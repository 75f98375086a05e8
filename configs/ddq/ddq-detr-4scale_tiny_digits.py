_base_ = [
    "../_base_/models/ddq_detr_r50.py", "../_base_/digits.py", "../_base_/tiny_digits.py",
    "../_base_/tiny_digits_queries.py", "../_base_/runtime.py"]
model = _base_.tiny_queries
