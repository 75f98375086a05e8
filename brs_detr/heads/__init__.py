"""mmdet heads whose classification loss ranks instead of scores, and Co-DETR's heads, baseline and ranking."""

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

from .anchor_assignment import OneReadPseudoSampler, VectorizedMaxIoUAssigner
from .anchor_heads import RankingATSSHead, RankingPAAHead, RankingRPNHead
from .assigner import BatchedHungarianAssigner
from .auxiliary import (
    AuxiliaryQueries,
    AuxiliarySamples,
    CoATSSHead,
    CoRoIHead,
    RankingCoATSSHead,
    select_queries,
)
from .batched_heads import (
    BatchedConditionalDETRHead,
    BatchedDABDETRHead,
    BatchedDDQDETRHead,
    BatchedDeformableDETRHead,
    BatchedDETRHead,
    BatchedDINOHead,
)
from .co_detr_heads import CoDETRHead, CoDINOHead
from .detr_ranking import DETRRankingMixin
from .matching import BatchedMatchingMixin, QueryTargets
from .ranking_detr_heads import RankingCoDINOHead, RankingDDQDETRHead, RankingDETRHead, RankingDINOHead
from .ranking_loss import AlrpLoss, APLoss, RankSortLoss
from .roi_heads import Float32RoIExtractor, RankingBBoxHead, RankingFCNMaskHead, RankingRoIHead
from .score_voting import mend_score_voting
from .top_k import cap_detections

cap_detections()
mend_score_voting()

__all__ = [
    "APLoss",
    "AlrpLoss",
    "AuxiliaryQueries",
    "AuxiliarySamples",
    "BatchedConditionalDETRHead",
    "BatchedDABDETRHead",
    "BatchedDDQDETRHead",
    "BatchedDETRHead",
    "BatchedDINOHead",
    "BatchedDeformableDETRHead",
    "BatchedHungarianAssigner",
    "BatchedMatchingMixin",
    "CoATSSHead",
    "CoDETRHead",
    "CoDINOHead",
    "CoRoIHead",
    "DETRRankingMixin",
    "Float32RoIExtractor",
    "OneReadPseudoSampler",
    "QueryTargets",
    "RankSortLoss",
    "RankingATSSHead",
    "RankingBBoxHead",
    "RankingCoATSSHead",
    "RankingCoDINOHead",
    "RankingDDQDETRHead",
    "RankingDETRHead",
    "RankingDINOHead",
    "RankingFCNMaskHead",
    "RankingPAAHead",
    "RankingRPNHead",
    "RankingRoIHead",
    "VectorizedMaxIoUAssigner",
    "select_queries",
]
