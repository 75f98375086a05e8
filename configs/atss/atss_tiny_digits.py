_base_ = [
    "../_base_/models/atss_r50.py", "../_base_/digits.py", "../_base_/tiny_digits_classical.py",
    "../_base_/runtime.py"]
model = _base_.tiny_dense
