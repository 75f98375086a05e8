"""How long the ranking losses take, forward and backward.

    python -m benchmarks.losses                        # everything, about an hour on two CPU cores
    python -m benchmarks.losses grid --threads 1       # every size and method
    python -m benchmarks.losses growth                 # sizes doubled, with fitted exponents and a figure
    python -m benchmarks.losses deviation              # how far each method is from the definition
    python -m benchmarks.losses step                   # the ranking problems of one BRS-DETR step

Prints tables, writes them to benchmarks/results/NAME.md with a figure, and appends to benchmarks/results/losses.csv.
"""

import argparse
from pathlib import Path

import torch

from . import parts
from .report import environment

RESULTS = Path(__file__).parent / "results"
PARTS = {"grid": parts.grid, "growth": parts.growth, "deviation": parts.deviation, "step": parts.step}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--largest", type=float, default=64e6, help="leave out sizes with more negatives")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write")
    args = parser.parse_args()
    unknown = set(args.parts) - PARTS.keys()
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("there is no CUDA device here: use --device cpu")
    return args


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    where = environment(args.device)
    args.results.mkdir(parents=True, exist_ok=True)
    print(where, flush=True)
    for name in args.parts or PARTS:
        setting = parts.Setting(args.device, int(args.largest), where, args.results)
        text = PARTS[name](setting)
        command = f"python -m benchmarks.losses {name} --device {args.device} --threads {args.threads}"
        page = f"{where}\n\nBy `{command}`\n\n{text}\n"
        (args.results / f"{name}_{setting.label}.md").write_text(page)
        print(f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
