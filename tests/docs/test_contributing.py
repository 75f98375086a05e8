"""The recipes for a loss and for a way of summing, followed with their code as it stands on the page."""

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mmdet.models.losses import QualityFocalLoss
from mmdet.registry import MODELS
from mmengine.config import Config

from brs_detr.heads.ranking_loss import RankingClassLoss
from brs_detr.losses import METHODS, ranking
from tests.configs.test_configs import build_model, train_one_step
from tests.losses.brute_force import EPS, step
from tests.losses.problems import DEFINING, as_if_large, assert_agree, average_precision, make, rank_sort

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
LOSS, SUMMING = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FOLDERS = ("brs_detr", "tests", "benchmarks", "configs")
OF_MMDET = {"BaseDetDataset", "DABDETRHead", "load_data_list"}
CASES = [("normal", 0.5), ("on the edges", 0.5), ("all equal", 0.0), ("far from zero", 1e-3)]


def module(name: str, code: str) -> ModuleType:
    """The code as a file of `brs_detr/losses`."""
    made = ModuleType(f"brs_detr.losses.{name}")
    made.__package__ = "brs_detr.losses"
    exec(compile(code, name, "exec"), vars(made))
    return made


def log_precision(logits: np.ndarray, targets: np.ndarray, delta: float) -> tuple[float, np.ndarray]:
    """The loss and its gradient by their definition."""
    positive, negative = np.flatnonzero(targets > 0), np.flatnonzero(targets == 0)
    loss, gradient = 0.0, np.zeros_like(logits)
    for i in positive:
        others = positive[positive != i]
        above, among = step(logits[negative] - logits[i], delta), step(logits[others] - logits[i], delta)
        error = np.log(1 + above.sum() / (1 + among.sum()))
        loss += error
        if above.sum() > EPS:
            gradient[i] -= error
            gradient[negative] += error * above / above.sum()
    return loss / len(positive), gradient / len(positive)


@pytest.mark.parametrize(("logits", "delta"), CASES)
def test_the_loss_is_its_definition(logits: str, delta: float) -> None:
    loss_of = module("log_precision", LOSS).log_precision_loss
    x, y = make(0, 20, 200, 3, logits, "random")
    x.requires_grad_()
    expected = log_precision(*(values.detach().double().numpy() for values in (x, y)), delta)

    def ours(method: str) -> tuple[float, np.ndarray]:
        loss = loss_of(x, y, delta=delta, method=method)
        return loss.item(), torch.autograd.grad(loss, x)[0].double().numpy()

    for method in DEFINING:
        assert_agree(ours(method), expected)
    with as_if_large():
        assert_agree(ours("exact"), expected)


def test_the_loss_trains_a_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS, "_module_dict", dict(MODELS.module_dict))
    parents = RankingClassLoss, module("log_precision", LOSS).LogPrecisionLoss, QualityFocalLoss
    MODELS.register_module(module=type("LogPrecisionLoss", parents, {"needs_ious": False}))
    cfg = Config.fromfile(str(ROOT / "configs" / "atss" / "brs-atss_tiny_digits.py"))
    cfg.model.bbox_head.loss_cls = dict(type="LogPrecisionLoss", use_sigmoid=True)
    torch.manual_seed(0)
    logged = train_one_step(build_model(cfg), cfg, [3, 2])
    assert logged["loss_rank"] > 0
    assert torch.isfinite(logged["loss"])
    assert "loss_sort" not in logged


@pytest.mark.parametrize(("logits", "delta"), CASES)
def test_the_way_of_summing_is_the_pairwise_one(logits: str, delta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    dense, others = module("dense", SUMMING).DenseNegatives, ranking.negative_sums
    monkeypatch.setattr(ranking, "METHODS", (*METHODS, "dense"))
    monkeypatch.setattr(
        ranking,
        "negative_sums",
        lambda method, *args: dense(*args[1:3]) if method == "dense" else others(method, *args),
    )
    x, y = make(1, 20, 200, 3, logits, "random")
    for loss in (rank_sort, average_precision):
        expected = loss(x.double(), y.double(), delta=delta, method="pairwise")
        assert_agree(loss(x, y, delta=delta, method="dense"), expected, 1e-6)


def test_what_the_page_names_exists() -> None:
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path.name != Path(__file__).name)
    texts = [LOSS, SUMMING, *(path.read_text() for path in files)]
    known = {word for text in texts for word in re.findall(r"\w+", text)} | OF_MMDET
    assert set(re.findall(r"`([A-Za-z_]+)`", PAGE)) - known == set()
