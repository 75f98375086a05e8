"""Random ranking problems of every awkward kind, and the losses with their gradients as arrays."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from brs_detr.losses import METHODS, alrp_loss, ap_loss, backends, blocks, grid, rank_sort_loss

LOGITS = {
    "normal": lambda rng, n: rng.normal(size=n) * 2,
    "quantised": lambda rng, n: np.round(rng.normal(size=n) * 4) / 4,
    "on the edges": lambda rng, n: rng.integers(-3, 4, size=n) * 0.5,
    "all equal": lambda rng, n: np.full(n, rng.normal()),
    "few values": lambda rng, n: rng.choice(rng.normal(size=3), size=n),
    "prior": lambda rng, n: -4.595 + 1e-4 * rng.normal(size=n),
    "neighbouring floats": lambda rng, n: np.float32(8) + np.float32(2**-20) * rng.integers(-3, 4, size=n),
    "far from zero": lambda rng, n: 5000 + rng.normal(size=n),
    "one outlier": lambda rng, n: rng.normal(size=n) + 1e6 * (np.arange(n) == rng.integers(n)),
    "any magnitude": lambda rng, n: rng.choice([-1, 1], size=n) * 10.0 ** rng.uniform(-30, 30, size=n),
    "two clusters": lambda rng, n: rng.choice([-1e30, 1e30], size=n),
    "zeros of both signs": lambda rng, n: rng.choice([-0.0, 0.0, 1e-40], size=n),
}
IOUS = {
    "random": lambda rng, n: rng.uniform(0.01, 1, size=n),
    "equal": lambda rng, n: np.full(n, 0.6),
    "ties": lambda rng, n: rng.integers(1, 4, size=n) / 3,
    "ones": lambda rng, n: np.ones(n),
    "tiny": lambda rng, n: rng.choice([1e-6, 1e-3, 1], size=n),
}
DEFINING = [method for method in METHODS if method != "bucketed"]  # they are the definition at every delta
DELTAS = [0.0, 0.25, 0.5, 1.0, 1e-30, 1e-6, 1e-3, 10.0, 1e5, 1e30]


@dataclass(frozen=True)
class Case:
    logits: Tensor
    targets: Tensor
    delta: float


def make(seed: int, positives: int, negatives: int, ignored: int, logits: str, ious: str) -> tuple[Tensor, Tensor]:
    """Shuffled logits and targets, of a kind of LOGITS and a kind of IOUS."""
    rng = np.random.default_rng(seed)
    x = LOGITS[logits](rng, positives + negatives + ignored) if positives + negatives + ignored else np.zeros(0)
    y = np.concatenate([IOUS[ious](rng, positives), np.zeros(negatives), np.full(ignored, -1.0)])
    order = rng.permutation(len(x))
    return torch.tensor(x[order], dtype=torch.float32), torch.tensor(y[order], dtype=torch.float32)


@st.composite
def cases(draw) -> Case:
    size = draw(st.sampled_from([3, 12, 60]))
    logits, targets = make(
        seed=draw(st.integers(0, 2**32 - 1)),
        positives=draw(st.integers(0, size)),
        negatives=draw(st.integers(0, 4 * size)),
        ignored=draw(st.integers(0, 3)),
        logits=draw(st.sampled_from(list(LOGITS))),
        ious=draw(st.sampled_from(list(IOUS))),
    )
    return Case(logits, targets, draw(st.sampled_from(DELTAS)))


def rank_sort(logits: Tensor, targets: Tensor, **settings) -> tuple[np.ndarray, ...]:
    """Ranking, sorting, and the gradient of each on its own."""
    x = logits.detach().clone().requires_grad_()
    losses = rank_sort_loss(x, targets, **settings)
    gradients = [torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in losses]
    return tuple(v.detach().double().numpy() for v in (*losses, *gradients))


def average_precision(logits: Tensor, targets: Tensor, **settings) -> tuple[np.ndarray, ...]:
    """The loss and its gradient."""
    x = logits.detach().clone().requires_grad_()
    loss = ap_loss(x, targets, **settings)
    return loss.detach().double().numpy(), torch.autograd.grad(loss, x)[0].double().numpy()


def alrp(logits: Tensor, targets: Tensor, localisation: Tensor, **settings) -> tuple[np.ndarray, ...]:
    """Classification, localisation, the gradient of the first in the logits, of the second in the box errors."""
    x, e = (v.detach().clone().requires_grad_() for v in (logits, localisation))
    losses = alrp_loss(x, targets, e, **settings)
    of_logits = torch.autograd.grad(losses.classification, x, retain_graph=True)[0]
    of_errors = torch.autograd.grad(losses.localisation, e)[0]
    return tuple(v.detach().double().numpy() for v in (*losses, of_logits, of_errors))


def box_errors(targets: Tensor) -> Tensor:
    """A box error for every sample, of which only those of positives may matter."""
    return torch.where(targets > 0, 1 - targets / 2, float("nan"))


def assert_agree(ours: tuple, expected: tuple, tolerance: float = 1e-5) -> None:
    """Values to the tolerance itself, gradients to the tolerance times the largest entry."""
    for a, b in zip(ours, expected, strict=True):
        size = np.abs(b).max(initial=0) if np.ndim(b) else 1.0
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * size + 1e-12)


@contextmanager
def as_if_large() -> Iterator[None]:
    """Small problems take the ways that are meant for large ones: buckets, grid, tiles, and dominance
    sums."""
    with ExitStack() as stack:
        for module, name, value in [
            (blocks, "CPU", blocks.CPU._replace(few_pairs=-1, few_positives=0, few_positive_pairs=-1, tile=32)),
            (blocks, "GPU", blocks.GPU._replace(few_pairs=-1, few_positives=0, few_positive_pairs=-1)),
            (grid, "LOOKUPS", 0),
            (blocks, "SAMPLED_EVERY", 3),
        ]:
            stack.enter_context(mock.patch.object(module, name, value))
        yield


@contextmanager
def as_if_large_on_a_gpu() -> Iterator[None]:
    """Small problems go through the Triton kernels, pairs of positives too: in Triton's interpreter."""
    with as_if_large(), ExitStack() as stack:
        of_a_gpu = blocks.GPU._replace(few_positive_pairs=1 << 30)
        stack.enter_context(mock.patch.multiple(blocks, CPU=of_a_gpu, GPU=of_a_gpu))
        stack.enter_context(mock.patch.object(backends, "obstacle", return_value=None))
        yield
