"""One problem, a batch, a list; each output's own gradient; dtypes; bad input."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from brs_detr.losses import MIN_IOU, APLoss, RankSortLoss, ap_loss, positive_targets, rank_sort_loss

from .problems import make

METHODS = ["exact", "bucketed", "pairwise"]


def problem(seed: int = 0, positives: int = 20, negatives: int = 300, ignored: int = 4) -> tuple[Tensor, Tensor]:
    logits, targets = make(seed, positives, negatives, ignored, "normal", "random")
    return logits.requires_grad_(), targets


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss, logits, retain_graph=True)[0]


@pytest.mark.parametrize("method", METHODS)
def test_each_term_has_its_own_gradient(method: str) -> None:
    logits, targets = problem()
    ranking, sorting = rank_sort_loss(logits, targets, method=method)
    of_ranking, of_sorting = gradient(ranking, logits), gradient(sorting, logits)
    assert of_sorting[targets <= 0].count_nonzero() == 0
    assert of_sorting[targets > 0].count_nonzero() > 0
    assert of_ranking[targets == 0].min() >= 0
    assert of_ranking[targets > 0].max() <= 0
    assert of_ranking[targets < 0].count_nonzero() == 0
    torch.testing.assert_close(gradient(3 * ranking - 0.5 * sorting, logits), 3 * of_ranking - 0.5 * of_sorting)
    torch.testing.assert_close(gradient(ranking, logits), of_ranking, rtol=0, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_balance(method: str) -> None:
    """What positives gain, negatives lose: the identity update moves no net weight."""
    logits, targets = problem()
    ranking, sorting = rank_sort_loss(logits.double(), targets, method=method)
    assert abs(gradient(ranking, logits).sum()) < 1e-6
    assert abs(gradient(sorting, logits).sum()) < 1e-6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lengths", [[324] * 5, [324, 20, 300, 1000, 1023, 0, 1, 324], [324, 300_000]])
def test_a_list_is_a_loop(method: str, lengths: list[int]) -> None:
    problems = [problem(k, n // 16, n - n // 16, 0) for k, n in enumerate(lengths)]
    problems[1][1].clamp_(max=0)  # one without positives
    together = rank_sort_loss(problems, method=method)
    alone = [rank_sort_loss(*p, method=method) for p in problems]
    assert len(together) == len(problems)
    for (logits, _), ours, expected in zip(problems, together, alone, strict=True):
        for loss, reference in zip(ours, expected, strict=True):
            torch.testing.assert_close(loss, reference, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(gradient(loss, logits), gradient(reference, logits), rtol=1e-5, atol=1e-8)
    aps = ap_loss(problems, method=method)
    for ours, p in zip(aps, problems, strict=True):
        torch.testing.assert_close(ours, ap_loss(*p, method=method), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_a_loop(method: str) -> None:
    problems = [problem(k, positives) for k, positives in enumerate([20, 0, 3, 60])]
    logits = torch.stack([x[:300] for x, _ in problems]).detach().requires_grad_()
    targets = torch.stack([y[:300] for _, y in problems])
    together = rank_sort_loss(logits, targets, method=method)
    assert len(together) == 4
    total = sum((k + 1) * pair.ranking + pair.sorting for k, pair in enumerate(together))
    for k, (x, y) in enumerate(zip(logits.detach().clone(), targets, strict=True)):
        x.requires_grad_()
        ranking, sorting = rank_sort_loss(x, y, method=method)
        torch.testing.assert_close(together[k].ranking, ranking)
        torch.testing.assert_close(together[k].sorting, sorting)
        expected = gradient((k + 1) * ranking + sorting, x)
        torch.testing.assert_close(gradient(total, logits)[k], expected, rtol=1e-5, atol=1e-8)


def test_an_empty_list_has_no_losses() -> None:
    assert rank_sort_loss([]) == []
    assert ap_loss([]) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("targets", [[], [0.0], [-1.0, -1.0], [0.0, 0.0, -1.0]])
def test_without_positives_the_graph_is_kept(method: str, targets: list[float]) -> None:
    logits = torch.zeros(len(targets), requires_grad=True)
    losses = [*rank_sort_loss(logits, torch.tensor(targets), method=method)]
    losses.append(ap_loss(logits, torch.tensor(targets), method=method))
    for loss in losses:
        assert loss == 0
        assert loss.shape == ()
        assert gradient(loss, logits).count_nonzero() == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("delta", [0.0, 0.5])
def test_without_negatives_only_sorting_is_left(method: str, delta: float) -> None:
    logits = torch.tensor([1.0, 0.0, 0.2], requires_grad=True)
    ranking, sorting = rank_sort_loss(logits, torch.tensor([0.1, 0.9, 0.5]), delta=delta, method=method)
    assert ranking == 0
    assert sorting > 0
    assert gradient(ranking, logits).count_nonzero() == 0
    assert gradient(sorting, logits)[0] > 0 > gradient(sorting, logits)[1]


@pytest.mark.parametrize("method", METHODS)
def test_equal_logits_at_initialisation(method: str) -> None:
    """Every logit the focal prior: nothing raises, every positive ranks in the middle."""
    logits = torch.full((53,), -float(np.log(99)), requires_grad=True)
    targets = torch.zeros(53)
    targets[:3] = torch.tensor([0.2, 0.5, 0.9])
    ranking, _ = rank_sort_loss(logits, targets, method=method)
    torch.testing.assert_close(ranking, torch.tensor(25 / 26.5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_dtypes(dtype: torch.dtype, method: str) -> None:
    logits, targets = problem()
    logits = logits.detach().to(dtype).requires_grad_()
    ranking, sorting = rank_sort_loss(logits, targets, method=method)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert ranking.dtype == sorting.dtype == wide
    assert gradient(ranking + sorting, logits).dtype == dtype


@pytest.mark.parametrize("method", METHODS)
def test_autocast_changes_nothing(method: str) -> None:
    logits, targets = problem()
    outside = rank_sort_loss(logits, targets, method=method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rank_sort_loss(logits, targets, method=method)
        assert torch.equal(gradient(inside.ranking, logits), gradient(outside.ranking, logits))
    assert inside == outside


@pytest.mark.parametrize("method", METHODS)
def test_without_gradient(method: str) -> None:
    logits, targets = problem()
    expected = rank_sort_loss(logits, targets, method=method)
    with torch.no_grad():
        assert rank_sort_loss(logits, targets, method=method) == expected
    plain = rank_sort_loss(logits.detach(), targets, method=method)
    assert plain == expected
    assert not plain.ranking.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_strided_and_integer_input(method: str) -> None:
    logits, targets = problem()
    expected = rank_sort_loss(logits, targets, method=method)
    spread = torch.stack([logits, logits], dim=1)[:, 0]
    assert rank_sort_loss(spread, torch.stack([targets, targets], dim=1)[:, 1], method=method) == expected
    tall = torch.stack([logits, logits + 1], dim=1).detach().requires_grad_()  # (N, 2): its transpose is a batch
    second = rank_sort_loss(tall.T, torch.stack([targets, targets], dim=1).T, method=method)[1]
    of_ranking, of_sorting = gradient(second.ranking, tall), gradient(second.sorting, tall)
    torch.testing.assert_close(of_ranking[:, 1], gradient(expected.ranking, logits))
    torch.testing.assert_close(of_sorting[:, 1], gradient(expected.sorting, logits))
    labels = targets.sign().long()
    assert ap_loss(logits, labels, method=method) == ap_loss(logits, labels.float(), method=method)


@pytest.mark.parametrize("method", ["exact", "pairwise"])
def test_large_problems_in_bounded_memory(method: str) -> None:
    """All pairs at once would take 0.8 GB."""
    logits, targets = make(6, 2000, 100_000, 0, "normal", "random")
    seen: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            seen.append(result.nelement() if isinstance(result, Tensor) else 0)
            return result

    logits.requires_grad_()
    with Watch():
        ranking, sorting = rank_sort_loss(logits, targets, method=method)
        (ranking + sorting).backward()
    assert max(seen) <= 2 * len(logits)


def test_modules_weigh_the_functions() -> None:
    logits, targets = problem()
    expected = rank_sort_loss(logits, targets, delta=0.25, method="pairwise")
    ours = RankSortLoss(delta=0.25, method="pairwise", loss_weight=2.0)(logits, targets)
    assert ours.ranking == 2 * expected.ranking
    assert ours.sorting == 2 * expected.sorting
    assert RankSortLoss(loss_weight=3.0)([(logits, targets)])[0].sorting == 3 * rank_sort_loss(logits, targets).sorting
    plain = APLoss(delta=0.5, interpolated=False, loss_weight=0.5)(logits, targets)
    assert plain == 0.5 * ap_loss(logits, targets, delta=0.5, interpolated=False)
    assert len(APLoss()([(logits, targets)] * 2)) == 2
    assert "delta=0.25" in repr(RankSortLoss(delta=0.25))
    assert "interpolated=False" in repr(APLoss(interpolated=False))


def test_a_positive_without_overlap_stays_positive() -> None:
    targets = positive_targets(torch.tensor([0.0, 0.4, 1.0000001], dtype=torch.float64))
    assert targets.tolist() == [MIN_IOU, 0.4, 1.0]
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert positive_targets(torch.zeros(1, dtype=dtype)) > 0
    assert torch.tensor(1.0) - positive_targets(torch.zeros(1)) < 1
    logits = torch.zeros(2, requires_grad=True)
    ranking, _ = rank_sort_loss(logits, torch.cat([positive_targets(torch.zeros(1)), torch.zeros(1)]))
    assert gradient(ranking, logits)[0] < 0


NAN, INF = float("nan"), float("inf")
BAD = {
    "head 3: 2 of 4 logits are NaN or infinite (first at index 1)": lambda: rank_sort_loss(
        torch.tensor([0, NAN, 1, INF]), torch.tensor([1.0, 0, 0, 0]), name="head 3"
    ),
    "head 3: 1 of 3 logits are NaN or infinite (first at index 2)": lambda: ap_loss(
        torch.tensor([0, 1, -INF]), torch.tensor([1.0, 0, -1]), name="head 3"
    ),
    "head 3: 1 of 2 targets are NaN or infinite (first at index 0)": lambda: rank_sort_loss(
        torch.zeros(2), torch.tensor([NAN, 1]), name="head 3"
    ),
    "b: 1 of 2 targets are NaN or infinite (first at index 1)": lambda: rank_sort_loss(
        [(torch.zeros(3), torch.zeros(3)), (torch.zeros(2), torch.tensor([0, -INF]))], name=["a", "b"]
    ),
    "layer, problem 1: 1 of 2 targets are above 1 (first at index 1: 1.5)": lambda: rank_sort_loss(
        torch.zeros(2, 2), torch.tensor([[0, 1], [0, 1.5]]), name="layer"
    ),
    "ranking loss: logits and targets must have the same size, got (3,) and (4,)": lambda: rank_sort_loss(
        torch.zeros(3), torch.zeros(4)
    ),
    "ranking loss: logits and targets must be on one device, got cpu and meta": lambda: rank_sort_loss(
        torch.zeros(3), torch.zeros(3, device="meta")
    ),
    "ranking loss: logits must be (N,) or (B, N), got (1, 2, 3)": lambda: rank_sort_loss(
        torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)
    ),
    "x, problem 0: logits in a list must be (N,), got (2, 3)": lambda: rank_sort_loss(
        [(torch.zeros(2, 3), torch.zeros(2, 3))], name="x"
    ),
    "a: 2 names for 1 ranking problems": lambda: rank_sort_loss([(torch.zeros(2), torch.zeros(2))], name=["a", "b"]),
    "unknown method 'fast'; choose one of 'exact', 'bucketed', 'pairwise'": lambda: RankSortLoss(method="fast"),
    "delta must be 0 or from 1e-30 to 1e30, got -0.5": lambda: ap_loss(torch.zeros(1), torch.zeros(1), delta=-0.5),
    "delta must be 0 or from 1e-30 to 1e30, got inf": lambda: APLoss(delta=INF),
}
MISTAKES = {
    "ranking loss: logits must be floating point, got torch.int64": lambda: rank_sort_loss(
        torch.zeros(3).long(), torch.zeros(3)
    ),
    "ranking loss: targets must be real numbers, got torch.complex64": lambda: rank_sort_loss(
        torch.zeros(3), torch.zeros(3, dtype=torch.complex64)
    ),
    "AP loss: logits and targets must be tensors, got Tensor and NoneType": lambda: ap_loss(torch.zeros(3)),
    "AP loss: a list holds (logits, targets) pairs, leave out the second argument": lambda: ap_loss(
        [(torch.zeros(3), torch.zeros(3))], torch.zeros(3)
    ),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_values(sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        BAD[sentence]()


@pytest.mark.parametrize(("sentence", "call"), MISTAKES.items())
def test_bad_types(sentence: str, call: Callable[[], Tensor]) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        call()
