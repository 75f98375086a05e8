"""Compiles the kernels to machine code for GPUs that need not be here. Run on its own: the tests interpret them."""

import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from brs_detr.losses import kernels

ARCHITECTURES = (80, 90)  # Ampere, Hopper
TABLES = {"lowest", "highest", "lowest_relevant", "thresholds", "origin", "low", "scale", "value", "slope"}
TYPES = {
    "cells": "*i32",
    "counts": "*i32",
    "offsets": "*i64",
    "per_width": "fp32",
    "units": "fp32",
    "N": "i32",
    "E": "i32",
    "CELLS": "i32",
    "COPIES": "i32",
    "sign": "i32",
    "at_zero": "fp32",
    "ties": "i32",
    "positive": "*i1",
    "numbers": "*i32",
    "BLOCKS": "i32",
    "B": "i32",
    "P": "i32",
}
CONSTANTS = dict(BLOCK=kernels.BLOCK, **kernels.PAIRS)
KERNELS = {  # with the dtypes of logits
    kernels.scan: ("bf16", "fp32", "fp64"),
    kernels.histogram: ("bf16", "fp32", "fp64"),
    kernels.gradient: ("bf16", "fp32", "fp64"),
    kernels.pair_sums: ("fp64",),
}
OF_POSITIVES = dict.fromkeys(("positions", "targets", "values", "of_all", "of_better"), "*fp64")


def signature(kernel: triton.JITFunction, logits: str) -> dict[str, str]:
    single = "fp64" if logits == "fp64" else "fp32"
    floats = {"logits": f"*{logits}", "targets": "*fp32", "result": f"*{single}"}
    types = TYPES | floats | dict.fromkeys(TABLES, f"*{single}") | dict.fromkeys(kernels.CONSTANTS, "constexpr")
    if kernel is kernels.pair_sums:
        types |= OF_POSITIVES
    return {name: types[name] for name in kernel.arg_names}


def main() -> None:
    for kernel, dtypes in KERNELS.items():
        constants = {name: CONSTANTS[name] for name in kernel.arg_names if name in CONSTANTS}
        for logits, architecture in product(dtypes, ARCHITECTURES):
            source = ASTSource(kernel, signature(kernel, logits), constexprs=constants)
            compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
            print(kernel.__name__, logits, architecture, len(compiled.asm["cubin"]))


if __name__ == "__main__":
    main()
