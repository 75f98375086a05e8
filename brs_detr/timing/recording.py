"""Records the calls of a model's classification losses while it takes a training step."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from mmdet.models.dense_heads import AnchorHead, DINOHead
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from brs_detr.engine.loss_timer import LOSS_NAME, classification_losses
from brs_detr.errors import InputError
from brs_detr.heads import CoDETRHead
from brs_detr.losses import APLoss, RankSortLoss

from .calls import Call, PlainCall, Problem, RankingCall, RankingLoss

RANKING = (RankSortLoss, APLoss)


def losses_to_time(model: nn.Module, config: str) -> dict[str, nn.Module]:
    """The classification losses by the path of their heads.

    Raises InputError if the model has none.
    """
    losses = {name.removesuffix(LOSS_NAME).strip("."): loss for name, loss in classification_losses(model).items()}
    if not losses:
        raise InputError(
            f"The config {config} has no classification loss to time: none of its heads has a {LOSS_NAME}. "
            "Give the config of a detector."
        )
    return losses


@contextmanager
def recorded(model: nn.Module, losses: dict[str, nn.Module]) -> Iterator[list[Call]]:
    """Yields the list that each call is appended to. losses: by the path of their heads in the model."""
    recorder = Recorder(model, losses)
    with ExitStack() as stack:
        for kind in RANKING:  # below mmdet's contract: there every call is (logits, targets) or a list of them
            stack.enter_context(patch.object(kind, "forward", recorder.of_ranking(kind.forward)))
        for loss in losses.values():
            if not isinstance(loss, RANKING):
                stack.enter_context(_removed(loss.register_forward_pre_hook(recorder.of_plain, with_kwargs=True)))
        yield recorder.calls


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


class Recorder:
    """Appends to `calls`. Calls without gradient only score samples, as PAA does, and are left out."""

    def __init__(self, model: nn.Module, losses: dict[str, nn.Module]) -> None:
        self.model = model
        self.heads = {id(loss): head for head, loss in losses.items()}
        self.number = Counter[str]()
        self.calls: list[Call] = []

    def of_ranking(self, forward: Any) -> Any:
        def recording(
            loss: RankingLoss,
            logits: Tensor | Sequence[tuple[Tensor, Tensor]],
            targets: Tensor | None = None,
            **names: Any,
        ) -> Any:
            single = isinstance(logits, Tensor)
            pairs = [(logits, targets)] if single else logits
            if id(loss) in self.heads and learns([x for x, _ in pairs]):
                self._add_ranking(loss, pairs, names.get("name"), single)
            return forward(loss, logits, targets, **names)

        return recording

    def _add_ranking(self, loss: RankingLoss, pairs: Any, name: str | Sequence[str] | None, single: bool) -> None:
        head = self.heads[id(loss)]
        layer = f"call {self.number[head] + 1}" if name is None else name
        layers = [layer] * len(pairs) if isinstance(layer, str) else layer
        problems = [Problem(layer, x.detach(), y) for (x, y), layer in zip(pairs, layers, strict=True)]
        self.calls.append(RankingCall(labelled(head, self.number[head]), loss, problems, together=not single))
        self.number[head] += 1

    def of_plain(self, loss: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if learns((args, kwargs)):
            path = self.heads[id(loss)]
            head, layer = place(path, self.model.get_submodule(path), self.number[path])
            self.calls.append(PlainCall(head, layer, loss, args, kwargs))
            self.number[path] += 1


def learns(inputs: Any) -> bool:
    """Whether a loss of these inputs will be differentiated."""
    leaves = (leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))
    return torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)


def labelled(head: str, group: int) -> str:
    return f"{head}, call {group + 1}" if group else head


def place(path: str, head: nn.Module, number: int) -> tuple[str, str]:
    """Names of head and layer for the head's n-th call of a loss that takes one layer or level at a time."""
    if not isinstance(head, CoDETRHead):
        return path, f"level {number}" if isinstance(head, AnchorHead) else f"call {number + 1}"
    layers = head.num_pred_layer - 1
    if number == layers:
        return path, "encoder proposals"
    group, layer = divmod(number - (number > layers), layers)
    first_call = ["", "denoising queries of "] if isinstance(head, DINOHead) else [""]
    queries = first_call[group] if group < len(first_call) else "auxiliary queries of "
    return labelled(path, max(0, group + 1 - len(first_call))), f"{queries}decoder layer {layer}"
