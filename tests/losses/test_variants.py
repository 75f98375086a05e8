"""How often a training compiles: what Triton tells the variants of a kernel by, over hundreds of sizes."""

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch

from brs_detr.losses.checks import DTYPES
from brs_detr.losses.fused import FusedNegatives, FusedPositives, FusedScan
from brs_detr.losses.positives import Found, arrange
from brs_detr.losses.problems import Batch
from brs_detr.losses.step import SmoothedStep

kernels = pytest.importorskip("brs_detr.losses.kernels", reason="Triton has no release for this platform")

compiler, jit = pytest.importorskip("triton.compiler"), pytest.importorskip("triton.runtime.jit")

AMPERE = compiler.make_backend(compiler.compiler.GPUTarget("cuda", 80, 32))
NAMES = ("scan", "histogram", "gradient", "pair_sums")
MOST = 3  # variants of a kernel for a dtype


class Watched:
    """A kernel that is not run: `variants` has what Triton's own launcher would look up a compiled one by."""

    def __init__(self, kernel: Any, **specialised: Any) -> None:
        if specialised or not isinstance(kernel, jit.JITFunction):  # but one for the interpreter
            kernel = jit.JITFunction(kernel.fn, **(specialised or kernel.kwargs))
        self.bind = jit.create_function_from_signature(kernel.signature, kernel.params, AMPERE)
        self.variants = defaultdict(set)

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(first: torch.Tensor, *args: Any, **sizes: int) -> None:
            _, specialization, options = self.bind(first, *args, **sizes)
            self.variants[first.dtype].add(str((specialization, options)))

        return launch


def launch_all(dtype: torch.dtype, batch: int, length: int, positives: int, shift: int, delta: float) -> None:
    """What a call of a loss launches, forward and backward; logits begin `shift` elements after an aligned address."""
    logits = torch.zeros(batch * length + shift, dtype=dtype)[shift:].view(batch, length)
    targets = torch.zeros(batch * length + shift)[shift:].view(batch, length)
    source = torch.arange(batch)[:, None] * length + torch.arange(positives)
    FusedScan(Batch(logits, targets, None, [], [], []), targets_are_ious=True)
    fields = torch.stack([torch.linspace(-1, 1, batch * positives).double(), torch.ones(batch * positives).double()])
    found = arrange(Found(fields, source.flatten(), [positives] * batch))
    sums = FusedNegatives(found, SmoothedStep(delta), logits)
    sums.false_positives(logits, targets)
    sums.gradient(logits, targets, found.weights)
    FusedPositives(found, SmoothedStep(delta)).from_better(found.weights[None])


def train(monkeypatch: pytest.MonkeyPatch, steps: int, **specialised: Any) -> list[int]:
    """The number of variants of each kernel and dtype after a training of so many sizes, for each dtype."""
    watched = {name: Watched(getattr(kernels, name), **specialised) for name in NAMES}
    for name, kernel in watched.items():
        monkeypatch.setattr(kernels, name, kernel)
    draw = random.Random(0)
    sizes = [(1, 1, 1), (1, 16, 16), (16, 4096, 1)]
    for _ in range(steps):
        length = draw.choice([draw.randint(1, 300), 16 * draw.randint(1, 3000)])
        sizes.append((draw.randint(1, 7), length, draw.randint(1, min(length, 1500))))
    for dtype in DTYPES:
        for batch, length, positives in sizes:
            launch_all(dtype, batch, length, positives, draw.choice([0, 0, 1, 3]), draw.choice([0.0, 0.5]))
    assert [set(kernel.variants) for kernel in watched.values()] == [set(DTYPES)] * 3 + [{torch.float64}]
    return [len(variants) for kernel in watched.values() for variants in kernel.variants.values()]


def test_a_training_compiles_few_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(train(monkeypatch, steps=80)) <= MOST


def test_more_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert min(train(monkeypatch, steps=8, do_not_specialize=["units"])) > MOST
