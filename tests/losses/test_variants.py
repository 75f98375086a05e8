"""How often a training compiles: what Triton tells the variants of a kernel by, over hundreds of sizes."""

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch

from brs_detr.losses.checks import DTYPES
from brs_detr.losses.fused import FusedNegatives, FusedPositives, FusedScan, put
from brs_detr.losses.problems import Batch
from brs_detr.losses.step import SmoothedStep

kernels = pytest.importorskip("brs_detr.losses.kernels", reason="Triton has no release for this platform")

compiler, jit = pytest.importorskip("triton.compiler"), pytest.importorskip("triton.runtime.jit")

AMPERE = compiler.make_backend(compiler.compiler.GPUTarget("cuda", 80, 32))
OF_LOGITS = {"scan", "summarise", "collect", "histogram", "gradient", "put", "grid"}  # have variants for their dtypes
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
    targets[:, :positives] = 1
    step, zeros = SmoothedStep(delta), [0.0] * 4
    scan = FusedScan(Batch(logits, targets, None, [""] * batch, [], []), step, targets_are_ious=True)
    found = scan.arrange(scan.find([[*zeros, float(positives - (row == 1))] for row in range(batch)]))
    sums, pairs = FusedNegatives(found, step, logits), FusedPositives(found, step)
    pairs.from_better(found.weights[None])
    pairs.rank_and_sort(sums.false_positives(logits, targets))
    put(found, found.weights, sums.gradient(logits, targets, found.weights))


def train(monkeypatch: pytest.MonkeyPatch, steps: int, **specialised: Any) -> dict[str, int]:
    """The most variants of each kernel for a dtype after a training of so many sizes, for each dtype."""
    watched = {name: Watched(getattr(kernels, name), **specialised) for name in kernels.NAMES}
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
    assert all(set(watched[name].variants) >= {torch.float32, torch.float64} for name in OF_LOGITS)
    return {name: max(map(len, kernel.variants.values())) for name, kernel in watched.items()}


def test_a_training_compiles_few_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(train(monkeypatch, steps=80).values()) <= MOST


def test_more_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = train(monkeypatch, steps=8, do_not_specialize=["units"])
    assert min(found[name] for name in ("scan", "collect", "histogram", "gradient", "pair_sums", "charge")) > MOST
