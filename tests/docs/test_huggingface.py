"""The example for Hugging Face Transformers, as it stands on its page."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import brs_detr.losses

PAGE = Path(__file__).resolve().parents[2] / "docs" / "huggingface.md"
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_example_is_short() -> None:
    assert len(CODE.splitlines()) <= 60
    compile(CODE, str(PAGE), "exec")


def test_the_example_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="Hugging Face Transformers is not installed")
    from transformers.loss import loss_rt_detr

    shapes = []

    def counted(logits: torch.Tensor, targets: torch.Tensor, **options: Any) -> Any:
        shapes.append((logits.shape, int((targets > 0).sum())))
        return rank_sort_loss(logits, targets, **options)

    rank_sort_loss = brs_detr.losses.rank_sort_loss
    monkeypatch.setattr(brs_detr.losses, "rank_sort_loss", counted)
    monkeypatch.setattr(loss_rt_detr, "RTDetrLoss", loss_rt_detr.RTDetrLoss)  # put back afterwards
    content: dict[str, Any] = {}
    exec(compile(CODE, str(PAGE), "exec"), content)

    history, config = content["history"], content["config"]
    assert history[-1] < 0.6 * history[0]
    layers = config.decoder_layers + 1  # the encoder's proposals are scored, too
    first = shapes[: layers + config.decoder_layers]  # of a step, at last the denoising queries
    assert len(shapes) == len(history) * len(first)
    assert first[:layers] == [(torch.Size([2 * config.num_queries * config.num_labels]), 3)] * layers
    assert all(len(shape) == 1 and positives >= 3 for shape, positives in first)
