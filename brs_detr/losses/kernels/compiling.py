"""How the kernels are compiled, and how many programs of them run.

Triton compiles a kernel again for every pattern of sizes and addresses that are 1 or divisible by 16, and for every
value of a constant. Sizes change with every image: `any_size` leaves a single variant for each dtype of logits and
targets, which costs vectorised loads. Constants are the arguments with a default.
"""

import inspect
from collections.abc import Callable

import triton

BLOCK = 1024  # samples of a program
TILE = 256  # positives, break points or cells of a program
SCAN = 1024  # positives or break points that a program adds up at a time, one tile after the other
ROWS, COLUMNS = 16, 64  # positives of a program, and those that they are compared with at a time


def any_size(kernel: Callable) -> triton.JITFunction:
    """Compiles `kernel` once for all sizes and addresses of its arguments."""
    arguments = inspect.signature(kernel).parameters.values()
    names = [each.name for each in arguments if each.default is inspect.Parameter.empty]
    return triton.jit(kernel, do_not_specialize=names, do_not_specialize_on_alignment=names)


def blocks(length: int) -> int:
    """Programs for a row of so many samples."""
    return -(-length // BLOCK)  # triton.cdiv, made for kernels, takes the host longer; a call asks nine times


def tiles(length: int) -> int:
    """Programs for a row of so many positives, break points or cells."""
    return -(-length // TILE)


def rows_of_pairs(positives: int) -> int:
    """Programs for the pairs of so many positives."""
    return -(-positives // ROWS)
