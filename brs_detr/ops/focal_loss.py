"""Sigmoid focal loss (ICCV 2017) with the signatures of mmcv's extension, which mmdet calls on a GPU."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


def _loss(logits: Tensor, labels: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    if weight.numel():
        raise NotImplementedError("Sigmoid focal loss with a weight per class needs a compiled mmcv.")
    classes = logits.shape[1]
    targets = F.one_hot(labels, classes + 1)[:, :classes].to(logits.dtype)  # the last label is the background
    return sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)


def sigmoid_focal_loss_forward(
    logits: Tensor, labels: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    """Focal loss of each sample and class, written into ``output``.

    Args:
        logits: (N, C).
        labels: (N,), class of each sample, C for background.
        weight: empty.
        output: (N, C), overwritten.
    """
    with torch.no_grad():
        output.copy_(_loss(logits, labels, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    logits: Tensor, labels: Tensor, weight: Tensor, grad_logits: Tensor, *, gamma: float, alpha: float
) -> None:
    """Derivative of each entry of the loss for its logit, written into ``grad_logits`` (N, C)."""
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        total = _loss(logits, labels, weight, gamma, alpha).sum()
    grad_logits.copy_(torch.autograd.grad(total, logits)[0])
