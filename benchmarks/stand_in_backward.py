"""The backward pass in Python: autograd's engine asks CUDA about its devices, of which there is none.

The nodes of the graph are called as the engine might call them, and what they return is checked as there.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

Edge = tuple[Any, int]  # a node of the graph, and which of its inputs


@contextmanager
def in_python() -> Iterator[None]:
    """Inside the block `Tensor.backward` and `torch.autograd.grad` are those of this file."""
    with mock.patch.multiple(torch.autograd, backward=backward, grad=grad):
        yield


def backward(tensor: Tensor, gradient: Tensor | None = None, *args: Any, **kwargs: Any) -> None:
    """Adds to the `grad` of every leaf of a tensor."""
    propagate(tensor, gradient, [])


def grad(
    outputs: Tensor, inputs: Tensor | Sequence[Tensor], grad_outputs: Tensor | None = None, **kwargs: Any
) -> tuple[Tensor, ...]:
    """The gradient of one output at each input."""
    inputs = [inputs] if isinstance(inputs, Tensor) else inputs
    return propagate(outputs, grad_outputs, [get_gradient_edge(tensor)[:2] for tensor in inputs])


@torch.no_grad()
def propagate(root: Tensor, gradient: Tensor | None, ends: list[Edge]) -> tuple[Tensor, ...]:
    """The gradients at the edges `ends`, which are leaves; if there are none, every leaf accumulates its own."""
    edge = get_gradient_edge(root)[:2]
    received: dict[Any, dict[int, Tensor]] = defaultdict(dict)
    _receive(received, edge, torch.ones_like(root) if gradient is None else gradient)
    nodes = _reachable(edge[0])
    waiting = Counter(following for node in nodes for following, _ in _edges(node))
    ready = [node for node in nodes if not waiting[node]]
    while ready:
        node = ready.pop()
        is_end = any(node is end for end, _ in ends)
        results = _call(node, received[node]) if received[node] and not is_end else [None] * len(_edges(node))
        for edge, gradient in zip(_edges(node), results, strict=True):
            if gradient is not None:
                _receive(received, edge, gradient)
            waiting[edge[0]] -= 1
            if not waiting[edge[0]]:
                ready.append(edge[0])
    return tuple(received[node][place] for node, place in ends)


def _edges(node: Any) -> list[Edge]:
    return [edge for edge in node.next_functions if edge[0] is not None]


def _reachable(node: Any) -> list[Any]:
    found, pending = {node: None}, [node]
    while pending:
        new = {following for following, _ in _edges(pending.pop())} - found.keys()
        found.update(dict.fromkeys(new))
        pending += new
    return list(found)


def _receive(received: dict[Any, dict[int, Tensor]], edge: Edge, gradient: Tensor) -> None:
    """Adds a gradient to those of an edge, in the shape and dtype of what it is the gradient of."""
    node, place = edge
    like, before = node._input_metadata[place], received[node].get(place)
    assert gradient.device == like.device, f"a gradient on {gradient.device} of what is on {like.device}"
    gradient = gradient.sum_to_size(like.shape).to(like.dtype)
    received[node][place] = gradient if before is None else before + gradient


def _call(node: Any, received: dict[int, Tensor]) -> list[Tensor | None]:
    """What a node gives on along its edges. A function written in Python gets zeros where it received nothing."""
    inputs = [received.get(place) for place in range(len(node._input_metadata))]
    if not isinstance(node, torch.autograd.function.BackwardCFunction):
        results = node(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        return [gradient for gradient, (end, _) in zip(results, node.next_functions, strict=True) if end is not None]
    zeros = (torch.zeros(like.shape, dtype=like.dtype, device=like.device) for like in node._input_metadata)
    results = node.apply(
        *(zero if gradient is None else gradient for gradient, zero in zip(inputs, zeros, strict=True))
    )
    results = results if isinstance(results, tuple) else (results,)
    return [gradient for gradient, needed in zip(results, node.needs_input_grad, strict=True) if needed]
