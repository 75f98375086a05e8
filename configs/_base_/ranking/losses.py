# The ranking losses of classical detectors. The published bucketed ones: method="bucketed", inexact for delta > 0.
rank_sort = dict(type="RankSortLoss", use_sigmoid=True, delta=0.5, method="exact")
ap = dict(type="APLoss", use_sigmoid=True, method="exact", interpolated=False)  # interpolated is the original AP Loss
lrp = dict(type="AlrpLoss", use_sigmoid=True, method="exact")  # with box errors of (1 - GIoU) / 2
giou = dict(type="GIoULoss", loss_weight=1.0)  # beside Rank & Sort Loss balanced to it, so that its weight is void
