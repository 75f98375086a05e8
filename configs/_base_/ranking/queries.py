# Rank & Sort Loss for all queries of DINO and DDQ-DETR, whose boxes keep the baseline's weights.
ranking_queries = dict(
    balance_boxes=False,
    loss_cls=dict(_delete_=True, type="RankSortLoss", use_sigmoid=True, delta=0.5, method="exact"))
