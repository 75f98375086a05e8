"""Scores that mean something: a monotone map from a detector's scores to the share of such detections that are right.

A ranking loss orders scores and leaves their scale free. The map keeps the order, so AP stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

KEY = "calibration"  # in a checkpoint


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing, piecewise linear map of scores, and the threshold to use after it.

    scores: knots on the detector's scale, strictly increasing. calibrated: the map at the knots, in [0, 1], strictly
    increasing; constant slopes lead from the outer knots to 0 and 1. threshold: the best one, on the calibrated scale.
    """

    scores: tuple[float, ...]
    calibrated: tuple[float, ...]
    threshold: float

    @overload
    def __call__(self, scores: Tensor) -> Tensor: ...
    @overload
    def __call__(self, scores: np.ndarray) -> np.ndarray: ...
    def __call__(self, scores: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """Calibrated scores, of the shape and the dtype of the scores."""
        if isinstance(scores, Tensor):
            mapped = np.interp(scores.detach().cpu().double().numpy(), self.scores, self.calibrated)
            return torch.from_numpy(np.asarray(mapped)).to(scores)
        return np.interp(scores, self.scores, self.calibrated).astype(scores.dtype)

    def as_dict(self) -> dict[str, Any]:
        """As it is kept in a checkpoint: numbers and lists of them."""
        return {"scores": list(self.scores), "calibrated": list(self.calibrated), "threshold": self.threshold}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Calibration | None:
        """What a checkpoint's content carries, None where it carries none."""
        if (kept := content.get(KEY)) is None:
            return None
        return cls(tuple(kept["scores"]), tuple(kept["calibrated"]), kept["threshold"])
