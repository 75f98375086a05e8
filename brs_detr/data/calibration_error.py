"""How far scores are from the share of detections that are right.

D-ECE    Küppers et al., "Multivariate Confidence Calibration for Object Detection", CVPR Workshops 2020
LaECE    Oksuz et al., "Towards Building Self-Aware Object Detectors", CVPR 2023; Kuzucu et al., "On Calibration of
         Object Detectors: Pitfalls, Evaluation and Baselines", ECCV 2024
"""

from typing import NamedTuple

import numpy as np

from .judging import Judged

BINS, LAECE_BINS = 10, 25  # as in the code of ECCV 2024


class Bins(NamedTuple):
    """Detections by their scores, in bins of equal width.

    counts: (J,). scores, shares: (J,), the means in a bin of the scores, and of what they should be; 0 without any.
    """

    counts: np.ndarray
    scores: np.ndarray
    shares: np.ndarray


def binned(scores: np.ndarray, targets: np.ndarray, bins: int = BINS) -> Bins:
    """Bin j holds the scores in (j / bins, (j + 1) / bins], the first one 0, too.

    scores, targets: (N,) in [0, 1].
    """
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    places = np.searchsorted(inner, scores, side="left")
    counts = np.bincount(places, minlength=bins)
    sums = (np.bincount(places, np.asarray(values, dtype=np.float64), bins) for values in (scores, targets))
    return Bins(counts, *(total / np.maximum(counts, 1) for total in sums))


def expected_error(scores: np.ndarray, targets: np.ndarray, bins: int = BINS) -> float:
    """sum_j |D_j| / |D|  |mean score of D_j - mean target of D_j|, D_j the detections in bin j; 0 without any."""
    counts, means, shares = binned(scores, targets, bins)
    return float((counts * np.abs(means - shares)).sum() / max(counts.sum(), 1))


def d_ece(judged: Judged, scores: np.ndarray) -> float:
    """D-ECE = sum_j |D_j| / |D|  |mean score of D_j - precision of D_j|  in 10 bins, over all classes together.

    It is 0 where scores are the share of right detections, as calibration makes them. scores: (N,), of the detections.
    """
    return expected_error(scores, judged.right)


def laece(judged: Judged, scores: np.ndarray) -> float:
    """LaECE = 1/K sum_c sum_j |D_j^c| / |D^c|  |mean score of D_j^c - precision of D_j^c * mean IoU of its right ones|

    in 25 bins, over the K classes c that are detected. "Right" is IoU >= 0.5 here; ECCV 2024 takes IoU > 0 (LaECE_0),
    and leaves out classes without an object, so that its numbers are others. Scores that are the share of right
    detections do not make it 0: it would have them multiplied by their IoU. scores: (N,), of the detections.
    """
    classes = np.unique(judged.labels)
    of_classes = (judged.labels == label for label in classes)
    errors = [expected_error(scores[chosen], judged.ious[chosen], LAECE_BINS) for chosen in of_classes]
    return float(np.mean(errors)) if errors else 0.0
