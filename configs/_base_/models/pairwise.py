# Rank & Sort Loss summed over all pairs: the same values as method="exact", at the original's cost.
_rank_sort = dict(method="pairwise")
pairwise = dict(
    bbox_head=dict(loss_cls=_rank_sort), rpn_head=dict(loss_cls=_rank_sort), atss_head=dict(loss_cls=_rank_sort),
    roi_head=dict(bbox_head=dict(loss_cls=_rank_sort)))
