"""mmdet heads whose classification loss ranks instead of scores, and Co-DETR's heads, baseline and ranking."""

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

from .atss_head import CoATSSHead, RankingATSSHead, RankingCoATSSHead
from .auxiliary import AuxiliarySamples, QueryTargets, select_queries
from .bbox_head import RankingBBoxHead
from .detr_head import CoDETRHead
from .dino_head import CoDINOHead, RankingCoDINOHead
from .mask_head import RankingFCNMaskHead
from .paa_head import RankingPAAHead
from .ranking_detr_head import RankingDETRHead
from .ranking_loss import APLoss, RankSortLoss
from .ranking_roi_head import RankingRoIHead
from .roi_head import CoRoIHead
from .rpn_head import RankingRPNHead

__all__ = [
    "APLoss",
    "AuxiliarySamples",
    "CoATSSHead",
    "CoDETRHead",
    "CoDINOHead",
    "CoRoIHead",
    "QueryTargets",
    "RankSortLoss",
    "RankingATSSHead",
    "RankingBBoxHead",
    "RankingCoATSSHead",
    "RankingCoDINOHead",
    "RankingDETRHead",
    "RankingFCNMaskHead",
    "RankingPAAHead",
    "RankingRPNHead",
    "RankingRoIHead",
    "select_queries",
]
