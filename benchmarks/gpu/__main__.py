"""Everything that only a GPU can tell, in the order of its worth, within some minutes and without network.

    python -m benchmarks.gpu --minutes 40                  # on a GPU; given again, it goes on
    python -m benchmarks.gpu --only losses operators       # some parts
    python -m benchmarks.gpu --dry-run --out work_dirs/dry # small sizes on a CPU: does the command itself work?

Each case runs in a process of its own and is on disk as soon as it ends; one that fails says why, and the others go on.
Writes gpu.json, a page gpu_PART.md for each part, and a paragraph, gpu_summary.md, into benchmarks/results.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from brs_detr.endings import add_debug, ends_with_a_sentence
from brs_detr.errors import IncompleteError, InputError, printable
from brs_detr.files import check_destination, write_text

from .cases import Case, Setting
from .environment import described
from .isolation import Outcome, in_a_process
from .parts import PARTS
from .results import RAW, Results
from .schedule import Budget, run
from .summary import paragraph, problems

RESULTS = Path(__file__).resolve().parents[1] / "results"
WORK = Path(__file__).resolve().parents[2] / "work_dirs" / "gpu"
JOBS = max(1, min(8, (os.cpu_count() or 1) // 2))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40, help="that all may take; what does not fit is left out")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results, needed by a dry run")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--jobs", type=int, default=JOBS, help="checks at a time, whose times do not matter")
    parser.add_argument("--again", action="store_true", help="measure finished cases, too")
    parser.add_argument("--dry-run", action="store_true", help="small sizes on a CPU, whose numbers say nothing")
    add_debug(parser)
    args = parser.parse_args(arguments)
    if not 0 < args.minutes < 1e6:
        parser.error("--minutes needs a number above 0")
    if args.jobs < 1:
        parser.error("--jobs needs 1 or more")
    return args


def setting_of(args: argparse.Namespace) -> tuple[Setting, Path]:
    """Where to measure, and the folder of the results.

    Raises InputError if there is no GPU, or a dry run would write among results.
    """
    if args.dry_run:
        if args.out is None or args.out.resolve() == RESULTS:
            raise InputError("--dry-run needs --out with a folder of its own: its numbers say nothing.")
        return Setting("cpu", True, (args.out / "work").resolve()), args.out
    if not torch.cuda.is_available():
        raise InputError(
            "torch finds no GPU here, which this command is for: --dry-run --out DIR goes through it on a CPU."
        )
    return Setting("cuda", False, WORK), args.out or RESULTS


@ends_with_a_sentence()
def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the case under way, too
    setting, folder = setting_of(args)
    check_destination(folder / RAW)
    setting.folder.mkdir(parents=True, exist_ok=True)
    parts = [part for name, part in PARTS.items() if name in (args.only or PARTS)]
    results = Results(folder, described(setting))
    for part in parts if args.again else ():
        results.forget(part.name)

    def execute(case: Case, seconds: float) -> Outcome:
        return in_a_process(case.measure, seconds, setting.folder / "gpu.log")

    run(parts, setting, results, Budget(60 * args.minutes), execute, args.jobs)
    text = paragraph(results)
    write_text(folder / "gpu_summary.md", text)
    print("", *map(printable, text.splitlines()), sep="\n")
    if found := problems(results):
        raise IncompleteError("\n".join(found))


if __name__ == "__main__":
    main()
