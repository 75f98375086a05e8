"""Small trainings on the digits by the training command itself: in two precisions, and on two GPUs."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch

from brs_detr.data.digits import Parameters, build
from brs_detr.errors import InputError, printable

from .. import digits_results
from .cases import Case, Part, Row, Setting

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "brs_detr" / "brs-detr_tiny_digits.py"
TRAIN, TRAIN_TOGETHER = ROOT / "scripts" / "train.py", ROOT / "scripts" / "dist_train.sh"
EPOCHS, EPOCHS_TOGETHER = 8, 2
SMALL = Parameters(train=8, val=4, test=2, size=64)
PRECISIONS = {"fp32": [], "bf16": ["--amp"]}
RANKINGS = {"each by itself": [], "together": ["--sync-ranking"]}
PROCESSES = 2


def train(name: str, epochs: int, options: list[str], setting: Setting, processes: int = 1) -> Row:
    """AP at the end of a training, seconds, and medians of an iteration.

    Raises InputError with the last words of a training that fails.
    """
    epochs = 1 if setting.small else epochs
    folder = setting.folder / name
    build(setting.folder / "data" / "digits", SMALL if setting.small else Parameters())
    interval = 1 if setting.small else 50
    logged = ["--cfg-options", f"default_hooks.logger.interval={interval}", f"train_cfg.val_interval={epochs}"]
    arguments = ["--work-dir", folder, "--overwrite", "--seed", 0, "--epochs", epochs, *options, *logged]
    launcher = [sys.executable, TRAIN, CONFIG] if processes == 1 else ["bash", TRAIN_TOGETHER, CONFIG, processes]
    start = time.perf_counter()
    run([*launcher, *arguments], setting.folder)
    seconds = time.perf_counter() - start
    found = digits_results.read(folder)
    times = {"s / iteration": found["seconds"], "losses, ms": found["loss_ms"], "s, all": seconds}
    return {"processes": processes, "epochs": epochs, "AP": found["AP"], "AP50": found["AP50"], **times}


def run(command: list[object], folder: Path) -> None:
    """A command, from a folder. Raises InputError with its last words if it fails."""
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout, flush=True)
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:] or ["it said nothing"]
        raise InputError(f"the training ended with status {done.returncode}: {printable(last[0])}")


def in_precision(precision: str, setting: Setting) -> list[Row]:
    return [{"precision": precision, **train(precision, EPOCHS, PRECISIONS[precision], setting)}]


def in_processes(ranking: str, setting: Setting) -> list[Row]:
    """Raises InputError where there are too few GPUs."""
    if setting.on_gpu and torch.cuda.device_count() < PROCESSES:
        raise InputError(f"it needs {PROCESSES} GPUs, and there is {torch.cuda.device_count()}.")
    name = ranking.replace(" ", "-")
    return [{"ranking": ranking, **train(name, EPOCHS_TOGETHER, RANKINGS[ranking], setting, PROCESSES)}]


def digits_cases(setting: Setting) -> list[Case]:
    names = ["bf16"] if setting.small else list(PRECISIONS)
    return [Case(precision, 300, partial(in_precision, precision, setting)) for precision in names]


def process_cases(setting: Setting) -> list[Case]:
    names = ["together"] if setting.small else ["together", "each by itself"]
    return [Case(ranking, 150, partial(in_processes, ranking, setting)) for ranking in names]


DIGITS = Part(
    "digits",
    f"`python scripts/train.py configs/brs_detr/brs-detr_tiny_digits.py --epochs {EPOCHS} --seed 0`, bf16 by `--amp`:\n"
    "AP on the digits at its end, medians of an iteration and of its classification losses, and seconds of everything.",
    digits_cases,
)
TWO_PROCESSES = Part(
    "processes",
    f"`bash scripts/dist_train.sh configs/brs_detr/brs-detr_tiny_digits.py {PROCESSES} --epochs {EPOCHS_TOGETHER}` on\n"
    f"{PROCESSES} GPUs by NCCL, on a CPU by gloo: samples ranked by each process, and together by `--sync-ranking`.",
    process_cases,
)
