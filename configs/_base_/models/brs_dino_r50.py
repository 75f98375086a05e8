# Co-DINO in which every classification ranks, with BRS-DETR's losses. No result of such a model was published.
_base_ = ["brs_detr_r50.py", "dino.py"]
model = _base_.dino
model.bbox_head = _base_.ranking_dino_head
