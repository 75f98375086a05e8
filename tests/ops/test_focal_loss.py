"""Sigmoid focal loss as mmdet calls it on a GPU, against its definition."""

import torch

import brs_detr.ops  # noqa: F401  (first: it makes mmcv.ops importable)

# isort: split
import mmcv.ops


def loop_focal(logits: torch.Tensor, labels: torch.Tensor, gamma: float, alpha: float) -> torch.Tensor:
    rows = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        p = row.sigmoid()
        loss = -(1 - alpha) * p**gamma * (1 - p).log()
        if label < len(row):
            loss = torch.cat(
                [
                    loss[:label],
                    (-alpha * (1 - p[label]) ** gamma * p[label].log())[None],
                    loss[label + 1 :],
                ]
            )
        rows.append(loss)
    return torch.stack(rows)


def test_sigmoid_focal_loss_forward_and_gradient() -> None:
    logits = torch.linspace(-4, 4, 20, dtype=torch.float64).view(5, 4).requires_grad_()
    labels = torch.tensor([0, 3, 4, 4, 2])  # 4 is the background
    output = mmcv.ops.sigmoid_focal_loss(logits, labels, 2.0, 0.25, None, "sum")
    expected = loop_focal(logits, labels, 2.0, 0.25).sum()
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(torch.autograd.grad(output, logits), torch.autograd.grad(expected, logits))
