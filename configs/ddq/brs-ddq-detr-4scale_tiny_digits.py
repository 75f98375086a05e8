_base_ = ["ddq-detr-4scale_tiny_digits.py", "../_base_/ranking/queries.py"]
model = dict(bbox_head=dict(type="RankingDDQDETRHead", **_base_.ranking_queries))
