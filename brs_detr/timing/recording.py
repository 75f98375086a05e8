"""The calls of a model's classification losses in a training step: recorded, and as cases that can be timed again."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from mmdet.models.dense_heads import AnchorHead, DINOHead
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from brs_detr.errors import InputError
from brs_detr.heads import CoDETRHead
from brs_detr.losses import METHODS as RANKING_METHODS
from brs_detr.losses import RankingLoss

from .loss_time import LOSS_NAME, classification_losses

FOCAL = "focal"
METHODS = (*RANKING_METHODS, FOCAL)
ALL_LAYERS = "all layers in one call"


class Replay:
    """A call that can be run again. inputs: the tensors among its arguments that got a gradient, detached."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.function = function
        leaves, self._structure = tree_flatten((args, kwargs))
        self._learned = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.requires_grad]
        self._leaves = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.inputs: list[Tensor] = [self._leaves[i] for i in self._learned]

    def __call__(self, inputs: list[Tensor]) -> Any:
        """What the function returns for other inputs."""
        leaves = list(self._leaves)
        for i, tensor in zip(self._learned, inputs, strict=True):
            leaves[i] = tensor
        args, kwargs = tree_unflatten(leaves, self._structure)
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Problem:
    """One ranking problem. layer: how the head names it; tensors: logits, targets and, if the loss needs it,
    localisation, (N,) each, see `RankingLoss`."""

    layer: str
    tensors: tuple[Tensor, ...]

    @property
    def positives(self) -> int:
        return int((self.tensors[1] > 0).sum())

    @property
    def negatives(self) -> int:
        return int((self.tensors[1] == 0).sum())


@dataclass(frozen=True)
class Case:
    """One thing to time. called: whether training makes this very call, so that it counts in the total."""

    head: str
    layer: str
    method: str
    positives: int
    negatives: int
    replay: Replay
    called: bool


@dataclass(frozen=True)
class RankingCall:
    """One call of a ranking loss. loss: its module; together: whether it was given a list of problems."""

    head: str
    loss: RankingLoss
    problems: list[Problem]
    together: bool

    def cases(self, methods: Sequence[str], delta: float | None = None) -> Iterator[Case]:
        """Each problem by every method, then all of them in one call, where training makes one call of it.

        methods: of `METHODS`; delta: of the loss, instead of its own.
        """
        changed: dict[str, Any] = {"sync": False} if delta is None else {"sync": False, "delta": delta}
        losses = {m: None if m == FOCAL else self.loss.with_settings(method=m, **changed) for m in methods}
        for problem in self.problems:
            for method, loss in losses.items():
                replay = Replay(focal_loss, *problem.tensors[:2]) if loss is None else solving(loss, *problem.tensors)
                yield self._case(problem.layer, method, replay, [problem], called=not self.together)
        if self.together:
            tensors = [problem.tensors for problem in self.problems]
            for method, loss in losses.items():
                replay = Replay(focal_losses, tensors) if loss is None else solving(loss, tensors)
                yield self._case(ALL_LAYERS, method, replay, self.problems, called=True)

    def _case(self, layer: str, method: str, replay: Replay, problems: list[Problem], called: bool) -> Case:
        positives, negatives = sum(p.positives for p in problems), sum(p.negatives for p in problems)
        return Case(self.head, layer, method, positives, negatives, replay, called)


def solving(loss: RankingLoss, *problems: Any) -> Replay:
    """A call below mmdet's contract, where it was recorded."""
    return Replay(RankingLoss.forward, loss, *problems)


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """mmdet's sigmoid focal loss of (N,) logits: target above 0 is a positive, below 0 ignored."""
    positive = targets > 0
    return py_sigmoid_focal_loss(logits, positive, (targets >= 0).float(), avg_factor=positive.sum().clamp(min=1))


def focal_losses(problems: list[tuple[Tensor, ...]]) -> list[Tensor]:
    return [focal_loss(*tensors[:2]) for tensors in problems]


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


def losses_to_time(model: nn.Module, config: str) -> dict[str, nn.Module]:
    """The classification losses by the path of their heads.

    Raises InputError if the model has none.
    """
    found = {name.removesuffix(LOSS_NAME).strip("."): loss for name, loss in classification_losses(model).items()}
    if not found:
        raise InputError(
            f"The config {config} has no classification loss to time: none of its heads has a {LOSS_NAME}. "
            "Give the config of a detector."
        )
    return found


@contextmanager
def recorded(model: nn.Module, losses: dict[str, nn.Module]) -> Iterator[list[RankingCall | Case]]:
    """Yields the list that each call is appended to, as a case if its loss does not rank.

    losses: by the path of their heads in the model.
    """
    recorder = Recorder(model, losses)
    with ExitStack() as stack:
        # below mmdet's contract: there every call is (logits, targets) or a list of them
        stack.enter_context(patch.object(RankingLoss, "forward", recorder.of_ranking(RankingLoss.forward)))
        for loss in losses.values():
            if not isinstance(loss, RankingLoss):
                handle = loss.register_forward_pre_hook(recorder.of_plain, with_kwargs=True)
                stack.callback(handle.remove)
        yield recorder.calls


class Recorder:
    """Appends to `calls`. Calls without gradient only score samples, as PAA does, and are left out."""

    def __init__(self, model: nn.Module, losses: dict[str, nn.Module]) -> None:
        self.model = model
        self.heads = {id(loss): head for head, loss in losses.items()}
        self.number = Counter[str]()
        self.calls: list[RankingCall | Case] = []

    def of_ranking(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def recording(
            loss: RankingLoss, logits: Tensor | Sequence[tuple[Tensor, ...]], *others: Any, **named: Any
        ) -> Any:
            if id(loss) in self.heads and is_differentiated((logits, others, named)):
                self._add_ranking(loss, logits, *others, **named)
            return forward(loss, logits, *others, **named)

        return recording

    def _add_ranking(
        self,
        loss: RankingLoss,
        logits: Tensor | Sequence[tuple[Tensor, ...]],
        targets: Tensor | None = None,
        localisation: Tensor | None = None,
        *,
        name: str | Sequence[str] | None = None,
    ) -> None:
        head, single = self.heads[id(loss)], isinstance(logits, Tensor)
        given = [tuple(x for x in (logits, targets, localisation) if x is not None)] if single else logits
        layer = f"call {self.number[head] + 1}" if name is None else name
        layers = [layer] * len(given) if isinstance(layer, str) else layer
        problems = [Problem(layer, as_leaves(tensors)) for layer, tensors in zip(layers, given, strict=True)]
        self.calls.append(RankingCall(labelled(head, self.number[head]), loss, problems, together=not single))
        self.number[head] += 1

    def of_plain(self, loss: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if is_differentiated((args, kwargs)):
            path = self.heads[id(loss)]
            head, layer = head_and_layer(path, self.model.get_submodule(path), self.number[path])
            counts = count_logits(loss, *args[:3])
            self.calls.append(
                Case(head, layer, type(loss).__name__, *counts, Replay(loss, *args, **kwargs), called=True)
            )
            self.number[path] += 1


def is_differentiated(inputs: Any) -> bool:
    """Whether a loss of these inputs will be."""
    leaves = (leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))
    return torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)


def as_leaves(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same values and need of gradients, without what they were computed from."""
    return tree_map_only(Tensor, lambda x: x.detach().requires_grad_(x.requires_grad), tensors)


def labelled(head: str, group: int) -> str:
    return f"{head}, call {group + 1}" if group else head


def head_and_layer(path: str, head: nn.Module, number: int) -> tuple[str, str]:
    """Their names for the head's n-th call of a loss that takes one layer or level at a time."""
    if not isinstance(head, CoDETRHead):
        return path, f"level {number}" if isinstance(head, AnchorHead) else f"call {number + 1}"
    layers = head.num_pred_layer - 1
    if number == layers:
        return path, "encoder proposals"
    group, layer = divmod(number - (number > layers), layers)
    first_call = ["", "denoising queries of "] if isinstance(head, DINOHead) else [""]
    queries = first_call[group] if group < len(first_call) else "auxiliary queries of "
    return labelled(path, max(0, group + 1 - len(first_call))), f"{queries}decoder layer {layer}"
