_base_ = ["dino-4scale_r50_1x_coco.py", "../_base_/ranking/queries.py"]
model = dict(bbox_head=dict(type="RankingDINOHead", **_base_.ranking_queries))
