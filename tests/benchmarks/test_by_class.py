"""Ranking by class against each class ranked alone, and a training step of a detector with it."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from benchmarks import decoder
from benchmarks.by_class import RankSortLossByClass
from benchmarks.decoder import Run
from brs_detr.losses import rank_sort_loss
from tests.configs.test_configs import build_model
from tests.samples import make_batch

CLASSES = 4
ABSENT = 2


def problem(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, CLASSES, generator=generator, dtype=torch.float64)
    targets = torch.rand(samples, CLASSES, generator=generator, dtype=torch.float64)
    targets = targets.where(targets > 0.7, 0)
    targets[:, ABSENT] = 0
    targets[0] = -1  # ignored
    return logits.requires_grad_(), targets


def test_it_is_the_mean_of_the_classes_with_objects() -> None:
    loss = RankSortLossByClass(delta=0.5, loss_weight=2.0, classes=CLASSES)
    problems = [problem(30, 0), problem(50, 1)]
    together = loss([(x.flatten(), y.flatten()) for x, y in problems], name=["first", "second"])
    for (logits, targets), terms in zip(problems, together, strict=True):
        present = [label for label in range(CLASSES) if label != ABSENT]
        alone = [rank_sort_loss(logits[:, label], targets[:, label], delta=0.5) for label in present]
        for value, *each in zip(terms, *alone, strict=True):
            torch.testing.assert_close(value, 2 * torch.stack(each).mean())
        (gradient,) = torch.autograd.grad(sum(terms), logits)
        (expected,) = torch.autograd.grad(2 * sum(map(sum, alone)) / len(alone), logits)
        torch.testing.assert_close(gradient, expected)
        assert not gradient[:, ABSENT].any()
    single = loss(problems[0][0].flatten(), problems[0][1].flatten(), name="first")
    torch.testing.assert_close(single, together[0])


def test_without_objects_it_is_zero_and_errors_name_the_class() -> None:
    loss = RankSortLossByClass(classes=CLASSES)
    logits, targets = problem(9, 2)
    terms = loss(logits.flatten(), torch.zeros_like(targets).flatten(), name="head")
    assert sum(terms).item() == 0
    sum(terms).backward()
    assert not logits.grad.any()
    spoiled = logits.detach().clone()
    spoiled[3, 1] = float("nan")
    with pytest.raises(ValueError, match="head, class 1"):
        loss(spoiled.flatten(), targets.flatten(), name="head")


def test_a_detector_trains_with_it(tmp_path: Path) -> None:
    run = Run("BRS-DETR", "distinct by IoU 0.5, fixed box weights, batch of 2, ranked by class", 0, 1)
    config = Config.fromfile(decoder.write_config(run, tmp_path))
    torch.manual_seed(0)
    model = build_model(config).train()
    data = model.data_preprocessor(make_batch([4, 3], 10), training=True)
    loss, logged = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
    loss.backward()
    assert logged["loss_rank"] > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
