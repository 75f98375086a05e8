"""What a full-size training step of BRS-DETR holds on a GPU, part by part, and how many images a GPU can hold.

    python -m benchmarks.step_memory                                # both backbones; needs no GPU and 3 GB
    python -m benchmarks.step_memory --rows R50 --size 320 512      # one of them, smaller

Computed, not measured on a GPU: the bytes of all tensors of one image's step (`benchmarks/step_parts.py`). Writes
benchmarks/results/step_memory.md.
"""

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

import brs_detr.registry  # noqa: F401
from brs_detr.engine.progress.console import silence_third_parties
from brs_detr.engine.running.activations import checkpoint_activations
from brs_detr.files import write_text
from brs_detr.timing.report import environment
from brs_detr.timing.run import SHAPES, build_model

from .memory import FULL, config_of
from .report import markdown
from .step_parts import HEADS, NETWORK, OTHER, RANKING, Bytes, heads_bytes, network_bytes, weights_bytes

RESULTS = Path(__file__).parent / "results" / "step_memory.md"
ROWS = ("R50", "Swin-L")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
GPUS = (11, 24, 80)  # GB
CONTEXT, USABLE = 1.0, 0.9  # GB for CUDA and its libraries; of the rest, what fragmentation leaves
PARTS = (OTHER, *NETWORK, *HEADS, RANKING)


class Step(NamedTuple):
    """A step of one image. weights: with what training adds to them; network, heads: see `step_parts`."""

    name: str
    weights: dict[str, int]
    network: Bytes
    heads: Bytes

    @property
    def kept(self) -> dict[str, int]:
        """By part, when the forward pass ends."""
        return {part: self.network.kept.get(part, 0) + self.heads.kept.get(part, 0) for part in PARTS}

    @property
    def image(self) -> int:
        """The most that a step holds beside the weights and AdamW's moments, gradients of the weights included.

        The losses are differentiated while all of the network is kept, and are gone before the network is.
        """
        return max(self.network.highest, sum(self.network.kept.values()) + self.heads.highest)

    @property
    def always(self) -> int:
        return self.weights["weights"] + self.weights["AdamW"]

    def images_on(self, gigabytes: float) -> int:
        """How many images fit, if each takes as much as one does."""
        left = (gigabytes - CONTEXT) * USABLE * 1e9 - self.always - self.weights["gradients"]
        return max(0, int(left // self.image))


def built(row: str, again: bool) -> nn.Module:
    model = build_model(config_of(row), SHAPES, torch.device("cpu"))
    if again:
        checkpoint_activations(model)
    return model


def steps(row: str, size: tuple[int, int], heads: Bytes) -> list[Step]:
    """The row in each precision, with activations kept and computed again."""
    found = []
    for (precision, dtype), again in product(PRECISIONS.items(), (False, True)):
        model = built(row, again)
        weights = weights_bytes(model)
        name = f"{row} {precision}{' again' if again else ''}"
        found.append(Step(name, weights, network_bytes(model, 1, size, dtype), heads))
        print(name, f"{found[-1].image / 1e9:.2f} GB", flush=True)
    return found


def by_part(found: list[Step]) -> str:
    """A table in MB."""
    rows = [(name, [step.weights[name] for step in found]) for name in ("weights", "gradients", "AdamW")]
    rows += [(part, [step.kept[part] for step in found]) for part in PARTS]
    rows.append(("kept, all parts", [sum(step.kept.values()) for step in found]))
    rows.append(("most at a time", [step.image for step in found]))
    return markdown(["MB", *(s.name for s in found)], [[name, *map(megabytes, values)] for name, values in rows])


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f}"


def capacity(found: list[Step]) -> str:
    header = ["images", *(f"{gigabytes} GB" for gigabytes in GPUS)]
    return markdown(header, [[step.name, *(str(step.images_on(gigabytes)) for gigabytes in GPUS)] for step in found])


def page(size: Sequence[int], found: list[Step]) -> str:
    versions = environment(torch.device("cpu"))
    return f"""\
Python {versions["python"]}, torch {versions["torch"]}, mmdet {versions["mmdet"]}

By `python -m benchmarks.step_memory`: a training step of BRS-DETR with one image of {size[0]} x {size[1]}, random
weights, AdamW; "again" is `--checkpoint-activations`, bf16 is `--amp`. Computed from the sizes of all tensors, not
measured on a GPU; deformable attention is this project's for a GPU without a compiled mmcv. The parts are what is kept
for the backward pass; heads and losses are in float32 in every column. "Most at a time" adds what exists for a while
only, and the gradients of the weights.

{by_part(found)}

Images of this size that a GPU can hold, computed: {CONTEXT:g} GB are left for CUDA and its libraries, and
{100 - 100 * USABLE:.0f}% of the rest for gaps between tensors. DistributedDataParallel takes as much as the gradients
once more, which is left out.

{capacity(found)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--size", type=int, nargs=2, default=FULL, metavar=("H", "W"))
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE")
    args = parser.parse_args()
    silence_third_parties()
    torch.manual_seed(0)
    size = tuple(args.size)
    heads = heads_bytes(built(args.rows[0], again=False), 1, size)  # maps and queries have the same sizes in all rows
    found = [step for row in args.rows for step in steps(row, size, heads)]
    text = page(size, found)
    print(text)
    write_text(args.out, text)


if __name__ == "__main__":
    main()
