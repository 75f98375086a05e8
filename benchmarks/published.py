"""How these losses were computed before: with a Python loop over the positives, or over the buckets.

What the benchmarks compare with; the tests compare it with the definition. Both return the ranking loss, the sorting
loss and the gradient of their sum, for logits and targets (N,) on any device.
"""

import torch
from torch import Tensor


def step(z: Tensor, delta: float) -> Tensor:
    """H, for delta > 0."""
    return (z / (2 * delta) + 0.5).clamp(0, 1)


def loop_over_positives(logits: Tensor, targets: Tensor, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rank & Sort Loss, ICCV 2021: O(P N), one pass over all relevant negatives for each positive."""
    positive, relevant = _relevant(logits, targets, delta)
    x, y, negatives = logits[positive], targets[positive], logits[relevant]
    of_positives, of_negatives = torch.zeros_like(x), torch.zeros_like(negatives)
    ranking, sorting = x.new_zeros(()), x.new_zeros(())
    for i in range(len(x)):
        above = step(negatives - x[i], delta)
        false_positives = above.sum()
        among = step(x - x[i], delta)
        error = false_positives / (among.sum() + false_positives)
        of_positives[i] -= error
        of_negatives += above * (error / false_positives.clamp(min=1e-10))
        sorting += _sort_one(i, among, y, of_positives)
        ranking += error
    return _collect(logits, positive, relevant, ranking, sorting, of_positives, of_negatives)


def _sort_one(i: int, among: Tensor, y: Tensor, of_positives: Tensor) -> Tensor:
    """The sorting error of positive i, charged to the positives of lower IoU above it."""
    allowed = y >= y[i]
    target = among * allowed
    error = (among * (1 - y)).sum() / among.sum() - (target * (1 - y)).sum() / target.sum()
    wrong = among * ~allowed
    excess = wrong.sum()
    if excess > 1e-10:
        of_positives[i] -= error
        of_positives += wrong * (error / excess)
    return error


def loop_over_buckets(logits: Tensor, targets: Tensor, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Bucketed Rank & Sort Loss, ECCV 2024: a sort, then one mean and one host copy a bucket."""
    positive, relevant = _relevant(logits, targets, delta)
    x, order = logits[positive].sort()
    y = targets[positive][order]
    negatives, sorted_places = logits[relevant].sort()
    cuts = torch.searchsorted(negatives, x).tolist()
    starts, ends = [0, *cuts], [*cuts, len(negatives)]
    filled = [(start, end) for start, end in zip(starts, ends, strict=True) if end > start]
    means = x.new_tensor([negatives[start:end].mean().item() for start, end in filled])
    sizes = torch.tensor([end - start for start, end in filled], dtype=torch.long, device=x.device)

    above = step(means[None, :] - x[:, None], delta) * sizes  # (P, B)
    among = step(x[None, :] - x[:, None], delta)
    rank, false_positives = among.sum(1), above.sum(1)
    error = false_positives / (rank + false_positives)
    of_buckets = (above * (error / false_positives.clamp(min=1e-10))[:, None]).sum(0) / sizes
    of_positives = -error
    allowed = y[None, :] >= y[:, None]
    target, wrong = among * allowed, among * ~allowed
    sort_error = (among * (1 - y)).sum(1) / rank - (target * (1 - y)).sum(1) / target.sum(1)
    excess = wrong.sum(1)
    charged = torch.where(excess > 1e-10, sort_error, 0.0)
    of_positives = of_positives - charged + (wrong * (charged / excess.clamp(min=1e-10))[:, None]).sum(0)

    return _collect(
        logits,
        positive[order],
        relevant[sorted_places],
        error.sum(),
        sort_error.sum(),
        of_positives,
        of_buckets.repeat_interleave(sizes),
    )


def _relevant(logits: Tensor, targets: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """Indices of the positives, and of the negatives that count: no lower than delta below the lowest positive."""
    positive = (targets > 0).nonzero()[:, 0]
    lowest = logits[positive].min() - delta
    return positive, ((targets == 0) & (logits >= lowest)).nonzero()[:, 0]


def _collect(
    logits: Tensor,
    positive: Tensor,
    relevant: Tensor,
    ranking: Tensor,
    sorting: Tensor,
    of_positives: Tensor,
    of_negatives: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    gradient = torch.zeros_like(logits)
    gradient[positive], gradient[relevant] = of_positives / len(positive), of_negatives / len(positive)
    return ranking / len(positive), sorting / len(positive), gradient
