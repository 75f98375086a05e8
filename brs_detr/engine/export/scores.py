"""A calibration of scores in operators of ONNX, which has no interpolation of values."""

import numpy as np
import torch
from torch import Tensor, nn

from brs_detr.data.calibration import Calibration


class PiecewiseLinear(nn.Module):
    """A calibration as a module: the line of each score is the one of the last knot at or below it."""

    knots: Tensor
    slopes: Tensor
    values: Tensor

    def __init__(self, calibration: Calibration) -> None:
        super().__init__()
        knots = np.unique([0.0, *calibration.scores, 1.0])
        values = calibration(knots)
        slopes = np.append(np.diff(values) / np.diff(knots), 0.0)
        for name, numbers in (("knots", knots), ("values", values), ("slopes", slopes)):
            self.register_buffer(name, torch.from_numpy(numbers).float())

    def forward(self, scores: Tensor) -> Tensor:
        """Calibrated scores, of the shape of the scores, which lie in 0..1."""
        line = (scores[..., None] >= self.knots).sum(-1) - 1
        return self.values[line] + self.slopes[line] * (scores - self.knots[line])
