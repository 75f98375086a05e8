# Ranking losses in ATSS and PAA, which then need no second score beside the class.
_base_ = "losses.py"
ranking = dict(loss_cls=dict(_delete_=True, **_base_.rank_sort), loss_bbox=dict(_delete_=True, **_base_.giou))
pairwise = dict(loss_cls=dict(method="pairwise"))  # the same values, at the cost of the original Rank & Sort Loss
average_precision = dict(_delete_=True, **_base_.ap)
original_ap = dict(method="pairwise", interpolated=True)
alrp = dict(loss_cls=dict(_delete_=True, **_base_.lrp), loss_bbox=dict(loss_weight=0.5))
three_anchors = dict(octave_base_scale=4, scales_per_octave=3)  # at each location
ranking_lr = 0.008
