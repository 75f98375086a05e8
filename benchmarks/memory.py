"""Peak memory of a full-size training step on the CPU, with activations kept and computed again.

    python -m benchmarks.memory                                  # every row, each in a process of its own
    python -m benchmarks.memory --rows R50 --size 320 512        # some

A step is forward, backward and AdamW for one random image of 800 x 1333 and random weights. Memory is all that the
process has held (`ru_maxrss`), with Python and its libraries; seconds are those of all threads together. What
computes again is `--checkpoint-activations` of `scripts/train.py`. Writes benchmarks/results/memory_cpu.md.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config

import brs_detr.registry  # noqa: F401
from brs_detr.engine.progress.console import silence_third_parties
from brs_detr.engine.running.activations import checkpoint_activations
from brs_detr.files import write_text
from brs_detr.timing.random_data import number_of_classes, random_batch
from brs_detr.timing.report import environment
from brs_detr.timing.run import MODEL, build_model

from .report import markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "memory_cpu.md"
FULL = (800, 1333)
CONFIGS = {
    "R50": "brs_detr/brs-detr_r50_1x_coco.py",
    "Swin-T": "brs_detr/brs-detr_swin-t_1x_coco.py",
    "ViT-S": "brs_detr/brs-detr_r50_1x_coco.py",
    "Swin-L": "brs_detr/brs-detr_swin-l_1x_coco.py",
}
VIT = "_base_/backbones/timm_vit_small.py"
Measured = dict[str, float]


def config_of(row: str) -> Config:
    """The config of a row; ViT-S takes the place of the ResNet."""
    config = Config.fromfile(str(ROOT / "configs" / CONFIGS[row]))
    if row == "ViT-S":
        base = Config.fromfile(str(ROOT / "configs" / VIT))
        config.merge_from_dict(dict(model=dict(backbone=base.timm_backbone)))
        config.model.neck.in_channels = base.timm_channels
    return config


def peak() -> float:
    """The most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(row: str, size: tuple[int, int], recompute: bool) -> Measured:
    """A training step in this process: its peak in GB, that before it, and its seconds of the CPU."""
    torch.manual_seed(0)
    model = build_model(config_of(row), MODEL, torch.device("cpu"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    if recompute:
        checkpoint_activations(model)
    data = random_batch(1, size, number_of_classes(model))
    before, start = peak(), time.process_time()
    data = model.data_preprocessor(data, training=True)
    total, _ = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
    total.backward()
    optimizer.step()
    return {"before": before, "gb": peak(), "seconds": time.process_time() - start}


def in_a_process(row: str, size: tuple[int, int], recompute: bool) -> Measured | None:
    """`measure` in a process of its own; None if memory does not suffice."""
    options = ["--child", "--rows", row, "--size", *map(str, size), *(["--recompute"] if recompute else [])]
    child = subprocess.run([sys.executable, "-m", "benchmarks.memory", *options], stdout=subprocess.PIPE, text=True)
    return None if child.returncode else json.loads(child.stdout.splitlines()[-1])


def table(rows: dict[str, list[Measured | None]]) -> str:
    header = ["backbone", "before, GB", "kept, GB", "again, GB", "kept, CPU s", "again, CPU s"]
    lines = []
    for row, (kept, again) in rows.items():
        numbers = [shown(again or kept, "before"), shown(kept, "gb"), shown(again, "gb")]
        lines.append([row, *numbers, shown(kept, "seconds"), shown(again, "seconds")])
    return markdown(header, lines)


def shown(measured: Measured | None, what: str) -> str:
    return f"{measured[what]:.1f}" if measured else "out of memory"


def head(size: Sequence[int]) -> str:
    """What was measured, where and how."""
    where = environment(torch.device("cpu"))
    versions = f"Python {where['python']}, torch {where['torch']}, mmdet {where['mmdet']}"
    image = " x ".join(map(str, size))
    return (
        f"{where['device']}, {where['threads']} threads, {versions}\n\n"
        f"By `python -m benchmarks.memory`: one step of BRS-DETR, one image of {image}, AdamW, float32, activations\n"
        "kept and computed again. Before the step there are the model, Python and its libraries."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--size", type=int, nargs=2, default=FULL, metavar=("H", "W"))
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--recompute", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    silence_third_parties()
    if args.child:
        print(json.dumps(measure(args.rows[0], tuple(args.size), args.recompute)))
        return
    rows: dict[str, list[Measured | None]] = {}
    for row in args.rows:
        rows[row] = [in_a_process(row, tuple(args.size), recompute) for recompute in (False, True)]
        print(table(rows), flush=True)
        write_text(args.out, f"{head(args.size)}\n\n{table(rows)}\n")


if __name__ == "__main__":
    main()
