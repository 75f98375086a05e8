"""Backbone and encoder compiled by `torch.compile`: fewer and larger kernels, with the results of before to rounding.

Names of weights, checkpoints and copies of the model are as without: modules are compiled in place, and a copy is not
compiled. Sizes of images are symbols, so that few sizes compile anew.
"""

from collections.abc import Iterator

import torch
from mmengine.model import is_model_wrapper
from torch import nn

from brs_detr.engine.running.activations import Recomputed
from brs_detr.errors import InputError

BACKEND = "inductor"


def check(device: torch.device) -> None:
    """Compile a small function.

    Raises:
        InputError: that cannot be done here.
    """
    try:
        torch.compile(lambda x: (x * x).tanh(), backend=BACKEND)(torch.ones(2, device=device))
    except Exception as error:  # no compiler for C++ or Triton, no support for this Python, ...
        cause = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"--compile: torch.compile does not work here ({cause[0]}). Install a C++ compiler for a CPU, Triton for a "
            "GPU, or leave the option away."
        ) from error


def compile_parts(model: nn.Module) -> str:
    """Let the backbone and the encoder's layers be compiled at their first use, and say so.

    Raises:
        InputError: the model has neither.
    """
    detector = model.get_submodule("module") if is_model_wrapper(model) else model
    parts = dict(parts_of(detector))
    if not parts:
        raise InputError(f"--compile: {type(detector).__name__} has no backbone, and no encoder with layers.")
    for part in parts.values():
        part.compile(backend=BACKEND, dynamic=True)
    return f"Compiled at their first use, which takes minutes: {', '.join(parts)}."


def parts_of(detector: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What is worth compiling, by name: what follows reads sizes on the host again and again.

    Layers that are computed again are left out: torch compiles such a part in one graph or not at all, and deformable
    attention divides it. Blocks of a backbone are compiled so, too.
    """
    if isinstance(backbone := getattr(detector, "backbone", None), nn.Module):
        yield "backbone", backbone
    layers = getattr(getattr(detector, "encoder", None), "layers", [])
    yield from ((f"encoder.layers.{k}", each) for k, each in enumerate(layers) if not isinstance(each, Recomputed))
