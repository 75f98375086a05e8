"""Small trainings on the embedded digits: every detector with every loss, several seeds.

    python -m benchmarks.digits                              # all; hours on two CPU cores, continues where it stopped
    python -m benchmarks.digits faster_rcnn atss --seeds 1
    python -m benchmarks.digits --table                      # only the table of what has been measured

The detectors differ in their loss alone: same model, data, schedule and number of epochs; each loss has its
config's own learning rate. Writes benchmarks/results/digits.csv and digits.md. Digits are not COCO.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from . import digits_results
from .digits_configs import FAMILIES, Run, write_config

ROOT = Path(__file__).resolve().parents[1]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8, help="of 400 images")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, of one thread each")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "study", help="logs and checkpoints")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--table", action="store_true", help="train nothing")
    args = parser.parse_args()
    unknown = set(args.families) - FAMILIES.keys()
    if unknown:
        parser.error(f"no family is called {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    return args


def planned(args: argparse.Namespace) -> list[Run]:
    """Seed by seed, so that an interrupted study has something of every detector."""
    return [
        Run(family, variant, seed, args.epochs)
        for seed in range(args.seeds)
        for family in args.families or FAMILIES
        for variant in FAMILIES[family]
    ]


def train(run: Run, args: argparse.Namespace) -> None:
    """Trains in a process of its own, of one thread, and appends the result to the CSV."""
    folder = args.work_dir / run.name
    config = write_config(run, folder)
    command = [sys.executable, "scripts/train.py", str(config), "--work-dir", str(folder / "run"), "--overwrite"]
    command += ["--seed", str(run.seed), "--epochs", str(run.epochs)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment)
    if done.returncode:
        print(f"{run.name} failed, see {folder / 'log.txt'}", flush=True)
        return
    result = digits_results.read(folder / "run")
    digits_results.append(args.results / "digits.csv", run, result)
    print(run.name, *(f"{key} {value:.3f}" for key, value in result.items()), flush=True)


def main() -> None:
    args = parse()
    subprocess.run([sys.executable, "-m", "brs_detr.data.digits", "--out", "data/digits"], cwd=ROOT, check=True)
    args.results.mkdir(parents=True, exist_ok=True)
    if not args.table:
        done = digits_results.finished(args.results / "digits.csv")
        runs = [run for run in planned(args) if run not in done]
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(partial(train, args=args), runs))
    text = digits_results.table(args.results / "digits.csv")
    (args.results / "digits.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
