# Co-DINO with five scales and ResNet-50: the baseline, as released.
_base_ = ["co_deformable_detr_r50.py", "dino.py"]
model = _base_.dino
model.bbox_head = _base_.dino_head
