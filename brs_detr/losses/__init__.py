"""Ranking-based losses in plain PyTorch: Rank & Sort Loss and AP Loss, exact and near-linear."""

from .api import MIN_IOU, RankSortLosses, ap_loss, positive_targets, rank_sort_loss
from .balance import self_balanced, weighted_mean
from .checks import NotFiniteError
from .modules import APLoss, RankSortLoss

__all__ = [
    "MIN_IOU",
    "APLoss",
    "NotFiniteError",
    "RankSortLoss",
    "RankSortLosses",
    "ap_loss",
    "positive_targets",
    "rank_sort_loss",
    "self_balanced",
    "weighted_mean",
]
