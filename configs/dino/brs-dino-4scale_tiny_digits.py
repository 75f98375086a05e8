_base_ = ["dino-4scale_tiny_digits.py", "../_base_/ranking/queries.py"]
model = dict(bbox_head=dict(type="RankingDINOHead", **_base_.ranking_queries))
