"""The definition of the ranking losses, written down once more as plainly as possible: loops and float64.

Shares nothing with the package. Targets: above 0 a positive (its IoU), 0 a negative, below 0 ignored.
"""

import numpy as np

EPS = 1e-10


def step(z: np.ndarray, delta: float) -> np.ndarray:
    if delta > 0:
        return np.clip(z / (2 * delta) + 0.5, 0, 1)
    return (z >= 0).astype(np.float64)


def rank_sort(logits, targets, delta):
    """Returns ranking, sorting, and the gradient of each, for logits and targets (N,)."""
    x, y = (np.asarray(v, dtype=np.float64) for v in (logits, targets))
    positive, negative = np.flatnonzero(y > 0), np.flatnonzero(y == 0)
    ranking, sorting = 0.0, 0.0
    of_ranking, of_sorting = np.zeros_like(x), np.zeros_like(x)
    for i in positive:
        among = step(x[positive] - x[i], delta)
        above = step(x[negative] - x[i], delta)
        rank_plus, false_positives = among.sum(), above.sum()
        error = false_positives / (rank_plus + false_positives)
        ranking += error
        if false_positives > EPS:
            of_ranking[i] -= error
            of_ranking[negative] += above / (rank_plus + false_positives)

        badness = 1 - y[positive]
        allowed = y[positive] >= y[i]
        current = (among * badness).sum() / rank_plus
        target = (among * badness)[allowed].sum() / among[allowed].sum()
        sorting += current - target
        excess = among[~allowed].sum()
        if excess > EPS:
            of_sorting[i] -= current - target
            of_sorting[positive[~allowed]] += (current - target) / excess * among[~allowed]
    count = max(len(positive), 1)
    return ranking / count, sorting / count, of_ranking / count, of_sorting / count


def average_precision(logits, targets, delta, interpolated=True):
    """Returns the loss and its gradient, for logits and targets (N,)."""
    x, y = (np.asarray(v, dtype=np.float64) for v in (logits, targets))
    positive, negative = np.flatnonzero(y > 0), np.flatnonzero(y == 0)
    loss, gradient, best = 0.0, np.zeros_like(x), 0.0
    for i in positive[np.argsort(x[positive], kind="stable")]:
        others = positive[positive != i]
        above = step(x[negative] - x[i], delta)
        rank_plus, false_positives = 1 + step(x[others] - x[i], delta).sum(), above.sum()
        precision = rank_plus / (rank_plus + false_positives)
        best = max(best, precision) if interpolated else precision
        loss += 1 - best
        if false_positives > EPS:
            gradient[i] -= 1 - best
            gradient[negative] += (1 - best) * above / false_positives
    count = max(len(positive), 1)
    return loss / count, gradient / count


def alrp(logits, targets, localisation, delta):
    """Returns both losses, the gradient of the first in the logits, and of the second in the errors, all (N,)."""
    x, y, e = (np.asarray(v, dtype=np.float64) for v in (logits, targets, localisation))
    positive, negative = np.flatnonzero(y > 0), np.flatnonzero(y == 0)
    classification, localised, of_logits, of_errors = 0.0, 0.0, np.zeros_like(x), np.zeros_like(x)
    for i in positive:
        others = positive[positive != i]
        among, above = step(x[others] - x[i], delta), step(x[negative] - x[i], delta)
        false_positives = above.sum()
        rank = 1 + among.sum() + false_positives
        classification += false_positives / rank
        if false_positives > EPS:
            share = (false_positives + (among * e[others]).sum()) / rank
            of_logits[i] -= share
            of_logits[negative] += share * above / false_positives
        at_or_above = positive[x[positive] >= x[i]]
        localised += e[at_or_above].sum() / rank
        of_errors[at_or_above] += 1 / rank
    count = max(len(positive), 1)
    return classification / count, localised / count, of_logits / count, of_errors / count
