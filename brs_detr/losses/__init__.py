"""Ranking-based losses in plain PyTorch: Rank & Sort, AP and aLRP Loss, exact and near-linear."""

from .alrp import AlrpLoss, AlrpLosses, alrp_loss
from .average_precision import APLoss, ap_loss
from .checks import NotFiniteError
from .interface import RankingLoss, named_terms, self_balanced, weighted_mean, weighted_means
from .rank_sort import MIN_IOU, RankSortLoss, RankSortLosses, positive_targets, rank_sort_loss
from .ranking import METHODS
from .solving import Call, solve

__all__ = [
    "METHODS",
    "MIN_IOU",
    "APLoss",
    "AlrpLoss",
    "AlrpLosses",
    "Call",
    "NotFiniteError",
    "RankSortLoss",
    "RankSortLosses",
    "RankingLoss",
    "alrp_loss",
    "ap_loss",
    "named_terms",
    "positive_targets",
    "rank_sort_loss",
    "self_balanced",
    "solve",
    "weighted_mean",
    "weighted_means",
]
