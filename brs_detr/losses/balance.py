"""Weighing a box loss against a ranking loss without a weight to tune. No host synchronisation."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """sum(w l) / sum(w) over losses l and weights w >= 0 of the positives, both (P,), as a 0-dim tensor.

    Without positives, or when all weights are 0, it is 0 and still part of the graph.
    """
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, 1)


def self_balanced(box_loss: Tensor, ranking_loss: Tensor) -> Tensor:
    """box_loss * detach(ranking_loss / box_loss): as large as the ranking loss, with the box loss's gradient.

    Rank & Sort Loss, ICCV 2021, section 4.3. A box loss of 0 (no positives, or perfect boxes) stays 0.
    """
    box, ranking = box_loss.detach(), ranking_loss.detach()
    real = box > torch.finfo(box.dtype).tiny
    return box_loss * torch.where(real, ranking / torch.where(real, box, 1), 0)
