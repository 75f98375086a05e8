_base_ = ["paa_tiny_digits.py", "../_base_/ranking/dense.py"]
model = dict(bbox_head=dict(type="RankingPAAHead", **_base_.ranking))
