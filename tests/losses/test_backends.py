"""Kernels or torch: who says so, and the test that kernels must pass, here in Triton's interpreter."""

import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from brs_detr.losses import APLoss, RankSortLoss, alrp_loss, ap_loss, backends, rank_sort_loss, self_test, warm_up
from brs_detr.losses.backends import VARIABLE
from brs_detr.losses.fused import FusedNegatives, obstacle

from .problems import as_if_large_on_a_gpu, make, rank_sort

kernels = pytest.importorskip("brs_detr.losses.kernels", reason="Triton has no release for this platform")

# numpy, which interprets, warns where a GPU is silent: of a number too far off the grid
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

CPU = torch.device("cpu")
RANK_AND_SORT = RankSortLoss().definition
LOGITS, TARGETS = make(0, 20, 400, 4, "quantised", "random")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not called a loss."""
    monkeypatch.setattr(self_test, "_failures", {})
    monkeypatch.setattr(self_test, "_passed", set())
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of the logits at each launch of a kernel."""
    lengths, launch = [], FusedNegatives._launch

    def recorded(self: FusedNegatives, kernel: str, logits: Tensor, *args: Any, **sizes: int) -> None:
        lengths.append(logits.shape[1])
        launch(self, kernel, logits, *args, **sizes)

    monkeypatch.setattr(FusedNegatives, "_launch", recorded)
    return lengths


class Spoilt:
    """A kernel after which something happens to its arguments."""

    def __init__(self, kernel: Any, spoil: Callable[..., object]) -> None:
        self.kernel, self.spoil = kernel, spoil

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*args: Any, **sizes: int) -> None:
            self.kernel[grid](*args, **sizes)
            self.spoil(*args)

        return launch


def does_not_compile(*_: Tensor) -> None:
    raise RuntimeError("at 3:4:\n  no such\n  instruction")


def at_both(*numbers: str) -> str:
    return ", ".join(f"{name} at delta {delta}" for delta in (0.0, 0.5) for name in numbers)


FAULTS = {  # kernel, what happens, and the reason that is given
    "a number": ("scan", lambda *args: args[3][1, 0].add_(1), at_both("scan")),
    "a place": ("collect", lambda *args: args[5][-1:].add_(1), at_both("places", "gradient")),
    "offsets": ("histogram", lambda *args: args[7].zero_(), "N_FP at delta 0.5"),
    "a sum": ("heights", lambda *args: args[3][0, :30].add_(1), at_both("N_FP")),
    "NaN": ("gradient", lambda *args: args[8][1, -1].fill_(float("nan")), at_both("gradient")),
    "a positive": ("pair_sums", lambda *args: args[4][0, 0, 3].add_(0.01), at_both("over as good", "from better")),
    "a share": ("charge", lambda *args: args[5][0, 3].add_(0.01), at_both("shares")),
    "an error": ("histogram", does_not_compile, "RuntimeError: at 3:4: no such instruction"),
}


@pytest.fixture(params=FAULTS)
def reason(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel is broken; the reason that should be given."""
    name, spoil, why = FAULTS[request.param]
    monkeypatch.setattr(kernels, name, Spoilt(getattr(kernels, name), spoil))
    return why


def same(ours: tuple, expected: tuple) -> bool:
    return all((a == b).all() for a, b in zip(ours, expected, strict=True))


@pytest.fixture
def by_torch() -> tuple:
    with as_if_large_on_a_gpu():
        return rank_sort(LOGITS, TARGETS, delta=0.5, backend="torch")


def test_broken_kernels_are_left_with_one_warning(reason: str, by_torch: tuple, launched: list[int]) -> None:
    with as_if_large_on_a_gpu(), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert same(rank_sort(LOGITS, TARGETS, delta=0.5), by_torch)
        rank_sort(LOGITS.bfloat16(), TARGETS, delta=0.5)
        with pytest.raises(ValueError, match=f'backend "triton" is not possible: .*{re.escape(reason)}'):
            rank_sort_loss(LOGITS, TARGETS, backend="triton")
    (warning,) = (str(each.message) for each in seen if "overflow" not in str(each.message))
    assert re.search(f"on cpu for .*: {re.escape(reason)}. Ranking losses are computed by torch", warning)
    assert set(launched) == {self_test.LENGTH}


def test_kernels_are_tested_once_a_dtype(by_torch: tuple, launched: list[int]) -> None:
    state = torch.get_rng_state()
    with as_if_large_on_a_gpu(), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "overflow encountered")
        for dtype in (torch.float32, torch.bfloat16) * 2:
            rank_sort_loss(LOGITS.to(dtype), TARGETS)
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            rank_sort_loss(LOGITS, TARGETS, backend="triton")
    assert launched.count(self_test.LENGTH) == 2 * 2 * len(self_test.DELTAS)
    assert launched.count(len(LOGITS)) == 5
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("targets", [torch.int64, torch.bool])
def test_kernels_pass_with_targets_of_any_dtype(targets: torch.dtype) -> None:
    assert self_test.failure(CPU, torch.float32, targets, RANK_AND_SORT) is None


def test_nothing_is_concluded_without_data() -> None:
    with FakeTensorMode():
        logits = torch.empty(1, 5, device="cuda")
        assert not backends.use_kernels("auto", logits, logits, RANK_AND_SORT)
        with pytest.raises(ValueError, match="no data"):
            backends.use_kernels("triton", logits, logits, RANK_AND_SORT)
    assert not self_test._failures


def test_nothing_is_read_amid_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(self_test, "_outcome", None)  # not callable
    device = torch.device("cuda", 0)
    assert "is being captured" in str(self_test.failure(device, torch.float32, torch.float32, RANK_AND_SORT))
    self_test._passed.add((device, torch.float32, torch.float32, type(RANK_AND_SORT)))
    assert self_test.failure(device, torch.float32, torch.float32, RANK_AND_SORT) is None


def test_torch_compile_leaves_the_losses_as_they_are(launched: list[int]) -> None:
    loss = RankSortLoss(backend="triton")
    logits = LOGITS.clone().requires_grad_()
    expected = (lambda terms: terms.ranking + terms.sorting)(rank_sort_loss(LOGITS, TARGETS))

    @torch.compile(backend="eager")
    def step(x: Tensor) -> Tensor:
        terms = loss(3 * x / 3, TARGETS)
        return terms.ranking + terms.sorting

    with as_if_large_on_a_gpu():
        value = step(logits)
        value.backward()
    torch.testing.assert_close(value, expected)
    assert logits.grad.count_nonzero() > 0
    assert launched.count(len(LOGITS)) == 2


def calls(backend: str | None) -> Iterator[Callable[[], object]]:
    """The same choice in every form of a call."""
    yield lambda: rank_sort_loss(LOGITS, TARGETS, backend=backend)
    yield lambda: ap_loss(LOGITS[None], TARGETS[None], backend=backend)
    yield lambda: alrp_loss([(LOGITS, TARGETS, TARGETS.abs())], backend=backend)
    yield lambda: RankSortLoss(backend=backend)(LOGITS, TARGETS)
    yield lambda: APLoss().with_settings(backend=backend)(LOGITS, TARGETS)
    for kind in ("RankSortLoss", "APLoss"):
        yield lambda kind=kind: MODELS.build(dict(type=kind, backend=backend))(LOGITS, TARGETS)


@pytest.mark.parametrize("backend", ["auto", "triton", "torch"])
def test_an_argument_wins_over_the_environment(
    backend: str, launched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for told, argument in ((backend, None), ("triton" if backend == "torch" else "torch", backend)):
        monkeypatch.setenv(VARIABLE, told)
        for call in calls(argument):
            launched.clear()
            with as_if_large_on_a_gpu():
                call()
            assert bool(launched) == (backend != "torch")


def test_unknown_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for call in list(calls("cuda")):
        with pytest.raises(ValueError, match="unknown backend 'cuda'; choose one of 'auto', 'triton', 'torch'"):
            call()
    monkeypatch.setenv(VARIABLE, "cuda")
    for call in calls(None):
        with pytest.raises(ValueError, match=f"variable {VARIABLE} is 'cuda'; unset it, or choose one of 'auto'"):
            call()
    for call in calls("torch"):
        call()


def test_kernels_are_refused_where_they_cannot_run() -> None:
    for call in calls("triton"):
        with pytest.raises(ValueError, match=r'"triton" is not possible: the logits are on cpu, and .* "auto" or'):
            call()
    rank_sort_loss(LOGITS, TARGETS, method="pairwise", backend="triton")  # has no kernels to refuse


def test_what_kernels_need_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = Mock(is_cuda=True, device=torch.device("cuda", 1), shape=(3, 1 << 20))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert obstacle(logits) == "cuda:1 has compute capability (7, 5), and the kernels need (8, 0)"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert obstacle(logits) is None
    for shape in ((1, 1 << 31), (40_000, 1)):
        assert obstacle(Mock(is_cuda=True, shape=shape)) == f"{shape} logits are more than the kernels count"


def test_warming_up_tells_where_kernels_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_up, "obstacle", lambda logits: None)
    monkeypatch.setattr(kernels, "scan", Spoilt(kernels.scan, does_not_compile))
    with pytest.warns(RuntimeWarning, match="computed by torch"):
        assert "no such instruction" in str(warm_up.outcome(CPU, torch.float32))


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells of a machine without CUDA")
def test_warming_up_without_a_device_ends_with_a_sentence() -> None:
    done = subprocess.run([sys.executable, "-m", "brs_detr.losses.warm_up"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "there is no CUDA device here: the losses take torch\n"
