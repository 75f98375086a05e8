"""Ranking-based losses in plain PyTorch: Rank & Sort Loss and AP Loss, exact and near-linear."""

from .api import MIN_IOU, RankSortLosses, ap_loss, positive_targets, rank_sort_loss
from .balance import self_balanced, weighted_mean
from .checks import NotFiniteError
from .modules import APLoss, RankingLoss, RankSortLoss, named_terms

__all__ = [
    "MIN_IOU",
    "APLoss",
    "NotFiniteError",
    "RankSortLoss",
    "RankSortLosses",
    "RankingLoss",
    "ap_loss",
    "named_terms",
    "positive_targets",
    "rank_sort_loss",
    "self_balanced",
    "weighted_mean",
]
