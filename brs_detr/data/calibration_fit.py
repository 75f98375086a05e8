"""Fits a `Calibration` to detections of validation data, of which it is known which are right.

Three maps compete, each fitted to the detections of four fifths of the images and scored on the others:

isotonic    isotonic regression, its steps centred (Oron and Flournoy, Statistics in Biopharmaceutical Research 2017)
Platt       logistic regression on the logit of the score, with Platt's targets (Advances in Large Margin Classifiers)
identity    the scores as they are

The one of the least Brier score is fitted to all.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from .calibration import Calibration
from .judging import Judged, best_threshold

FOLDS, LEAST = 5, 10  # LEAST: detections to fit to
STEP = 0.002  # between knots, so that a map tells scores apart in float32, too
PLATT_KNOTS = 100
SMALLEST = 1e-6  # of a score and of its distance from 1, for its logit
Knots = tuple[np.ndarray, np.ndarray]  # (K,) scores, and the map at them


class Outcome(NamedTuple):
    """What calibration has come to.

    calibration: None where there is nothing to fit to. calibrated: (N,) scores, each by a map fitted without its image,
    None where nothing was fitted. said: what was done, or why not.
    """

    calibration: Calibration | None
    calibrated: np.ndarray | None
    said: str


Calibrate = Callable[[Judged], Outcome]


def stored(calibration: Calibration | None) -> Calibrate:
    """In place of a fit: the map that a checkpoint has, if it has one."""

    def applied(judged: Judged) -> Outcome:
        return Outcome(calibration, None if calibration is None else calibration(judged.scores), "")

    return applied


def fit(judged: Judged) -> Outcome:
    """The best map for these detections, and the threshold of the best F1 after it."""
    right = judged.right
    if not right.any():
        what = f"none of {len(judged)} detections is right" if len(judged) else "there is no detection"
        return Outcome(None, None, f"not calibrated: {what}")
    if not ((judged.scores >= 0) & (judged.scores <= 1)).all():
        return Outcome(None, None, "not calibrated: scores are not from 0 to 1")
    threshold = np.float32(best_threshold(judged.scores, right, judged.num_objects))
    if reason := too_little(judged):
        unchanged = _calibration(identity(judged.scores, right), threshold)
        return Outcome(unchanged, None, f"scores kept as they are: {reason}")
    held_out = {name: _held_out(method, judged) for name, method in METHODS.items()}
    chosen = min(METHODS, key=lambda name: np.square(held_out[name] - right).mean())
    calibration = _calibration(METHODS[chosen](judged.scores.astype(np.float64), right), threshold)
    return Outcome(calibration, held_out[chosen], f"calibrated by {chosen} of {len(judged)} detections")


def too_little(judged: Judged) -> str:
    """Why no map can be fitted and compared; empty where it can."""
    if len(judged) < LEAST:
        return f"{len(judged)} detections are fewer than {LEAST}"
    if judged.right.all():
        return f"all {len(judged)} detections are right"
    return "all detections are of one image" if len(np.unique(judged.images)) == 1 else ""


def _calibration(knots: Knots, threshold: np.float32) -> Calibration:
    """threshold: on the detector's scale; after the map it is a float32, as the scores that it is compared with."""
    scores, calibrated = (tuple(values.tolist()) for values in knots)
    return Calibration(scores, calibrated, float(np.float32(np.interp(threshold, *knots))))


def _held_out(method: Callable[[np.ndarray, np.ndarray], Knots], judged: Judged) -> np.ndarray:
    """(N,) calibrated scores, each by a map that was fitted without its image."""
    scores, calibrated = judged.scores.astype(np.float64), np.empty(len(judged))
    folds = GroupKFold(min(FOLDS, len(np.unique(judged.images))))
    for fitted, rest in folds.split(scores, groups=judged.images):
        calibrated[rest] = np.interp(scores[rest], *method(scores[fitted], judged.right[fitted]))
    return calibrated


def identity(scores: np.ndarray, right: np.ndarray) -> Knots:
    return np.array([0.0, 1.0]), np.array([0.0, 1.0])


def isotonic(scores: np.ndarray, right: np.ndarray) -> Knots:
    """scores, right: (N,). A step becomes one knot, at the means of its scores and of what is right among them.

    One detection more at each end, right at the lowest score and wrong at the highest: no step is surely one or other.
    """
    x = np.concatenate([[scores.min()], scores, [scores.max()]])
    y = np.concatenate([[1.0], right, [0.0]])
    _, steps, counts = np.unique(IsotonicRegression().fit(x, y).predict(x), return_inverse=True, return_counts=True)
    return increasing(np.bincount(steps, x) / counts, np.bincount(steps, y) / counts)


def platt(scores: np.ndarray, right: np.ndarray) -> Knots:
    """scores, right: (N,). Targets are (R + 1) / (R + 2) for the R right ones, 1 / (W + 2) for the W wrong ones."""
    x, count = logit(np.clip(scores, SMALLEST, 1 - SMALLEST)), right.sum()
    targets = np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))
    both = np.concatenate([x, x])[:, None]  # each detection as right and as wrong, by its target
    labels, weights = np.repeat([1, 0], len(x)), np.concatenate([targets, 1 - targets])
    model = LogisticRegression(C=1 / SMALLEST).fit(both, labels, weights)
    places = np.linspace(x.min(), x.max(), PLATT_KNOTS)
    return increasing(expit(places), model.predict_proba(places[:, None])[:, 1])


METHODS = {"isotonic regression": isotonic, "Platt scaling": platt, "identity": identity}


def increasing(scores: np.ndarray, shares: np.ndarray) -> Knots:
    """Those of the knots (K,) that increase by a `STEP` at least, or to the double where they are small, and the ends.

    The map begins at (0, 0). After the last knot it goes on along the line from there, but to 1 at most.
    """
    kept = [(0.0, 0.0)]
    for score, share in zip(scores.tolist(), np.minimum(shares, 1 - STEP).tolist(), strict=True):
        last, before = kept[-1]
        if np.float32(score) > np.float32(last) and share > before and share >= min(before + STEP, 2 * before):
            kept.append((score, share))
    score, share = kept[-1]
    end = min(1.0, share / score) if score else 1.0
    if np.float32(score) == 1 or np.float32(share) >= np.float32(end):
        kept.pop()
        end = share
    x, y = zip(*kept, (1.0, end), strict=True)
    return np.array(x), np.array(y)
