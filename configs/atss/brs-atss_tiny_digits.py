_base_ = ["atss_tiny_digits.py", "../_base_/ranking/dense.py"]
model = dict(bbox_head=dict(type="RankingATSSHead", **_base_.ranking))
