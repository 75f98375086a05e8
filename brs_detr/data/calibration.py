"""Scores that mean something: a monotone map from a detector's scores to the share of such detections that are right.

A ranking loss orders scores and leaves their scale free. The map keeps the order, so AP stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from brs_detr.errors import CheckpointError

KEY = "calibration"  # in a checkpoint
MOST_KNOTS = 10_000  # that a file may hold; what is fitted has some hundreds


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing, piecewise linear map of scores in [0, 1], and the threshold to use after it.

    scores: knots on the detector's scale, calibrated: the map at them; both strictly increasing in float32, in [0, 1].
    threshold: the best one, on the calibrated scale.

    Raises:
        ValueError: they are not.
    """

    scores: tuple[float, ...]
    calibrated: tuple[float, ...]
    threshold: float

    def __post_init__(self) -> None:
        _check_knots(self.scores, "scores")
        _check_knots(self.calibrated, "calibrated scores")
        if len(self.scores) != len(self.calibrated):
            raise ValueError(f"{len(self.scores)} scores are mapped to {len(self.calibrated)}")
        if not _is_share(self.threshold):
            raise ValueError("the threshold is no number from 0 to 1")

    @overload
    def __call__(self, scores: Tensor) -> Tensor: ...
    @overload
    def __call__(self, scores: np.ndarray) -> np.ndarray: ...
    def __call__(self, scores: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """Calibrated scores, of the shape and the dtype of the scores."""
        if isinstance(scores, Tensor):  # on the host, for not all devices have float64
            mapped = np.interp(scores.detach().cpu().double().numpy(), self.scores, self.calibrated)
            return torch.from_numpy(np.asarray(mapped)).to(scores)
        return np.interp(scores, self.scores, self.calibrated).astype(scores.dtype)

    def as_dict(self) -> dict[str, Any]:
        """As it is kept in a checkpoint: numbers and lists of them."""
        return {"scores": list(self.scores), "calibrated": list(self.calibrated), "threshold": self.threshold}

    @classmethod
    def of(cls, content: Mapping[str, Any], path: str | Path | None = None) -> Calibration | None:
        """What a checkpoint's content carries, None where it carries none. `path`: the file, for the message.

        Raises:
            CheckpointError: it is malformed.
        """
        if (kept := content.get(KEY)) is None:
            return None
        try:
            return cls(_listed(kept["scores"]), _listed(kept["calibrated"]), kept["threshold"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            reason = str(error) if type(error) is ValueError else "it is no map of scores"
        where = f"the checkpoint {path}" if path else "the checkpoint"
        raise CheckpointError(
            f"The calibration in {where} is refused: {reason}. Make it anew with scripts/calibrate.py."
        )


def _listed(knots: Any) -> tuple[Any, ...]:
    """Raises TypeError for what else may be iterated over: the keys of a dict are no knots."""
    if not isinstance(knots, list | tuple):
        raise TypeError(type(knots).__name__)
    return tuple(knots)


def _check_knots(knots: tuple[float, ...], name: str) -> None:
    if not 2 <= len(knots) <= MOST_KNOTS:
        raise ValueError(f"it has {len(knots)} {name}, where 2 to {MOST_KNOTS} are possible")
    if not all(map(_is_share, knots)):
        raise ValueError(f"its {name} are not all numbers from 0 to 1")
    if not (np.diff(np.array(knots, dtype=np.float32)) > 0).all():
        raise ValueError(f"its {name} do not increase")


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
