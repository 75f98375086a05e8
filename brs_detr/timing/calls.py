"""What the classification losses of one training step were called with, so that it can be run again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from brs_detr.losses import APLoss, RankSortLoss

RankingLoss = RankSortLoss | APLoss


@dataclass(frozen=True)
class Problem:
    """One ranking problem. layer: how the head names it; logits, targets: (N,), see `rank_sort_loss`."""

    layer: str
    logits: Tensor
    targets: Tensor

    @property
    def positives(self) -> int:
        return int((self.targets > 0).sum())

    @property
    def negatives(self) -> int:
        return int((self.targets == 0).sum())


@dataclass(frozen=True)
class RankingCall:
    """One call of a ranking loss. loss: its module; together: whether it was given a list of problems."""

    head: str
    loss: RankingLoss
    problems: list[Problem]
    together: bool


class PlainCall:
    """One call of a classification loss that does not rank. layer: which call of its head it is."""

    def __init__(self, head: str, layer: str, loss: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.head, self.layer, self.loss = head, layer, loss
        leaves, self._structure = tree_flatten((args, kwargs))
        self._learned = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.requires_grad]
        self._leaves = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.positives, self.negatives = count_logits(loss, *args[:3])

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that get a gradient."""
        return [self._leaves[i] for i in self._learned]

    def run(self, inputs: list[Tensor]) -> Any:
        leaves = list(self._leaves)
        for i, tensor in zip(self._learned, inputs, strict=True):
            leaves[i] = tensor
        args, kwargs = tree_unflatten(leaves, self._structure)
        return self.loss(*args, **kwargs)


Call = RankingCall | PlainCall
Run = Callable[[list[Tensor]], Any]


def count_logits(
    loss: nn.Module, logits: Tensor, targets: Tensor | tuple[Tensor, Tensor], weight: Tensor | None = None
) -> tuple[int, int]:
    """(positives, negatives) among the logits that are not ignored, of a loss of mmdet.

    logits: (S, channels). targets: labels (S,), with IoUs or without, where other labels than classes are
    background; or a score for each logit. A softmax has one channel more than classes.
    """
    labels = targets[0] if isinstance(targets, tuple) else targets
    used = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    if weight is not None:
        used = weight.reshape(len(logits), -1).amax(dim=1) > 0
    if labels.shape == logits.shape:
        positives = int((labels[used] > 0).sum())
    else:
        classes = logits.shape[1] - (not getattr(loss, "use_sigmoid", False))
        positives = int(((labels >= 0) & (labels < classes) & used).sum())
    return positives, int(used.sum()) * logits[0].numel() - positives
