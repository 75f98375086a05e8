"""One problem, a batch, a list; each output's own gradient; dtypes; bad input."""

import re
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from brs_detr.losses import (
    METHODS,
    MIN_IOU,
    AlrpLoss,
    APLoss,
    RankSortLoss,
    alrp_loss,
    ap_loss,
    named_terms,
    positive_targets,
    rank_sort_loss,
)

from .problems import make


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
    no_rows = torch.zeros(0, 5)
    assert rank_sort_loss(no_rows, no_rows) == ap_loss(no_rows, no_rows) == []


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


def alrp_problem(seed: int = 0, positives: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    logits, targets = problem(seed, positives)
    return logits, targets, torch.rand(len(logits), generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_alrp_in_every_form_of_a_call() -> None:
    problems = [alrp_problem(seed, positives) for seed, positives in enumerate([20, 0, 3])]
    alone = [alrp_loss(*each) for each in problems]
    length = min(len(logits) for logits, _, _ in problems)
    batch = [torch.stack([each[k][:length] for each in problems]) for k in range(3)]
    for ours, each in zip(alrp_loss(*batch), problems, strict=True):
        torch.testing.assert_close(ours, alrp_loss(*(values[:length] for values in each)))
    for ours, expected, (logits, _, errors) in zip(alrp_loss(problems), alone, problems, strict=True):
        torch.testing.assert_close(ours, expected)
        total, reference = ours.classification + 2 * ours.localisation, expected.classification
        torch.testing.assert_close(gradient(total, logits), gradient(reference, logits))
        torch.testing.assert_close(gradient(total, errors), 2 * gradient(expected.localisation, errors))
    assert alone[1].classification == alone[1].localisation == 0


def test_alrp_of_perfect_boxes_is_not_interpolated_ap() -> None:
    logits, targets, errors = alrp_problem()
    ours = alrp_loss(logits, targets, torch.zeros_like(errors))
    expected = ap_loss(logits, targets, interpolated=False)
    torch.testing.assert_close(ours.classification, expected)
    torch.testing.assert_close(gradient(ours.classification, logits), gradient(expected, logits))
    assert ours.localisation == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_alrp_keeps_the_dtype_of_the_box_errors(dtype: torch.dtype) -> None:
    logits, targets, errors = alrp_problem()
    errors = errors.detach().to(dtype).requires_grad_()
    assert gradient(alrp_loss(logits, targets, errors).localisation, errors).dtype == dtype


def test_modules_have_one_interface() -> None:
    logits, targets, errors = alrp_problem()
    for loss, names in [
        (RankSortLoss(), ["ranking", "sorting"]),
        (APLoss(), ["ranking"]),
        (AlrpLoss(loss_weight=2.0), ["classification", "localisation"]),
    ]:
        inputs = (logits, targets, errors) if loss.needs_localisation else (logits, targets)
        terms = named_terms(loss(*inputs))
        assert list(terms) == names
        assert named_terms(loss([inputs])[0]) == terms
        balance = loss.balance(terms)
        assert balance is None if isinstance(loss, APLoss) else balance == sum(terms.values())
        other = loss.with_settings(method="pairwise", delta=0.25)
        assert (other.method, other.delta, other.loss_weight) == ("pairwise", 0.25, loss.loss_weight)
        assert loss.method == "exact"
        with pytest.raises(TypeError, match="has no setting speed"):
            loss.with_settings(speed=1)
        with pytest.raises(ValueError, match="unknown method 'fast'"):
            loss.with_settings(method="fast")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [324, 60_000])
def test_input_changed_before_the_backward_pass_is_noticed(method: str, length: int) -> None:
    logits, targets = problem(negatives=length)
    ranking, sorting = rank_sort_loss(logits * 1, targets, method=method)
    targets[targets == 0] = -1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (ranking + sorting).backward()


def test_rows_of_queries_are_taken_for_problems_with_a_warning() -> None:
    """Logits (queries, classes) of a DETR: 300 problems, most of them without a positive."""
    logits, targets = torch.randn(300, 80), torch.zeros(300, 80)
    targets[:7, 3] = 0.6
    with pytest.warns(UserWarning, match=r"293 of these 300 have no positive.*flatten"):
        assert len(rank_sort_loss(logits, targets)) == 300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rank_sort_loss(logits.flatten(), targets.flatten())
        rank_sort_loss(list(zip(logits, targets, strict=True)))  # a list says what it means


def test_ap_takes_any_positive_target() -> None:
    logits, targets = problem()
    assert ap_loss(logits, 7 * targets.sign().long()) == ap_loss(logits, targets)


def test_identity_update_has_no_second_derivative() -> None:
    logits, targets = problem()
    (first,) = torch.autograd.grad(rank_sort_loss(logits, targets).ranking, logits, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        first.sum().backward()


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
    "boxes: 1 of 3 localisation errors are NaN or infinite (first at index 1)": lambda: alrp_loss(
        torch.zeros(3), torch.tensor([0.0, 1, 0]), torch.tensor([NAN, NAN, 0]), name="boxes"
    ),
    "aLRP loss: 1 of 2 localisation errors are below 0 (first at index 0: -0.5)": lambda: alrp_loss(
        torch.zeros(2), torch.tensor([1.0, 0]), torch.tensor([-0.5, -1])
    ),
    "aLRP loss: logits and targets and localisation must have the same size, got (3,) and (3,) and (1,)": lambda: (
        alrp_loss(torch.zeros(3), torch.zeros(3), torch.zeros(1))
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
    "ranking loss: logits must have 16, 32 or 64 bits, got torch.float8_e5m2": lambda: rank_sort_loss(
        torch.zeros(3).to(torch.float8_e5m2), torch.zeros(3)
    ),
    "ranking loss: logits must be dense, got torch.sparse_coo: use to_dense()": lambda: rank_sort_loss(
        torch.zeros(3).to_sparse(), torch.zeros(3)
    ),
    "ranking loss: logits must be a tensor, or a list of (logits, targets), got ndarray": lambda: rank_sort_loss(
        np.zeros(3), np.zeros(3)
    ),
    "ranking loss: logits and targets must be tensors, got Tensor and ndarray": lambda: rank_sort_loss(
        torch.zeros(3), np.zeros(3)
    ),
    "ranking loss, problem 0: logits and targets must be tensors, got ndarray and ndarray": lambda: rank_sort_loss(
        [(np.zeros(3), np.zeros(3))]
    ),
    "ranking loss, problem 1: a list holds (logits, targets) pairs, got a tuple of 3": lambda: rank_sort_loss(
        [(torch.zeros(3), torch.zeros(3)), (torch.zeros(3),) * 3]
    ),
    "ranking loss, problem 0: a list holds (logits, targets) pairs, got a Tensor": lambda: rank_sort_loss(
        [torch.zeros(2)]
    ),
    "aLRP loss, problem 0: a list holds (logits, targets, localisation) triples, got a tuple of 2": lambda: alrp_loss(
        [(torch.zeros(2), torch.zeros(2))]
    ),
    "ranking loss: torch.func.vmap and grad do not reach in here: give a (B, N) batch, and use backward": lambda: (
        torch.func.vmap(rank_sort_loss)(torch.zeros(2, 3), torch.zeros(2, 3))
    ),
    "AP loss: logits and targets must be tensors, got Tensor and NoneType": lambda: ap_loss(torch.zeros(3)),
    "AP loss: a list holds (logits, targets) pairs, leave out the other arguments": lambda: ap_loss(
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
