"""Compiles the kernels to machine code for GPUs that need not be here. Run on its own: the tests interpret them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from brs_detr.losses import kernels

VARIANTS = (("bf16", 80), ("fp32", 90), ("fp64", 80))  # dtypes of logits; compute capabilities of Ampere and Hopper
SCALARS = {"per_width": "fp32", "units": "fp32", "at_zero": "fp32", "sign": "i32", "ties": "i32"}  # or as annotated
INTEGERS = {
    **dict.fromkeys(("numbers", "before", "counts", "cells", "places", "elements"), "*i32"),
    **dict.fromkeys(("offsets", "source", "first", "order", "of_positive"), "*i64"),
    "sloped": "*i1",
}
IN_THEIR_PRECISION = {"lowest", "highest", "lowest_relevant", "thresholds", "origin", "value", "slope"}  # of logits
OF_SAMPLES = ("scan", "summarise", "collect", "histogram", "gradient", "put")
OF_LOGITS = (*OF_SAMPLES, "break_points", "grid", "tables")  # have a variant for each dtype of logits


def signature(name: str, logits: str) -> dict[str, str]:
    """Triton's types of the arguments; what is not said is a tensor of float64."""
    single, result = ("fp64" if logits == "fp64" else "fp32"), {}
    of_samples = {"logits": f"*{logits}", "targets": "*fp32", "result": f"*{logits}"} if name in OF_SAMPLES else {}
    known = INTEGERS | dict.fromkeys(IN_THEIR_PRECISION, f"*{single}") | SCALARS | of_samples
    for parameter in getattr(kernels, name).params:
        size = "i32" if parameter.name.isupper() else "*fp64"
        result[parameter.name] = parameter.annotation or known.get(parameter.name, size)
    return result


def main() -> None:
    for name in kernels.NAMES:
        kernel = getattr(kernels, name)
        constants = {parameter.name: parameter.default for parameter in kernel.params if parameter.has_default}
        for logits, architecture in VARIANTS if name in OF_LOGITS else VARIANTS[1:2]:
            source = ASTSource(kernel, signature(name, logits), constexprs=constants)
            compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
            print(name, logits, architecture, len(compiled.asm["cubin"]))


if __name__ == "__main__":
    main()
