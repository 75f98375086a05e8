"""torch's launcher of several processes, which leaves the last word to them: arguments are those of torchrun."""

import logging
import os
import signal
import socket
import sys
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing the project

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.utils import parse_rendezvous_endpoint

from brs_detr import launcher, peers
from brs_detr.endings import ends_with_a_sentence

KILLED = "it was ended by {name}, perhaps for want of memory: lower the batch size, or train_dataloader.num_workers"


def tell(args: Namespace, error: ChildFailedError) -> int:
    """Say that the process which ended first was killed, here and to other machines; the status to end with.

    Those that end later end because of it, some of them by torchrun.
    """
    rank, first = error.get_first_failure()
    status = first.exitcode if first.exitcode > 0 else 128 - first.exitcode
    if first.exitcode < 0 and first.exitcode != -signal.SIGTERM:
        text = KILLED.format(name=signal.Signals(-first.exitcode).name)
        failure = peers.Failure(rank, rank - first.local_rank, socket.gethostname(), status, text)
        print(f"error (rank {rank} on {failure.host}): {text}", file=sys.stderr)
        if args.nnodes != "1":
            note(args, failure)
    if args.nnodes != "1":
        time.sleep(2 * peers.PERIOD)  # the store may end with this process, and the others read it each period
    return status


def note(args: Namespace, failure: peers.Failure) -> None:
    """Tell the other machines."""
    host, port = parse_rendezvous_endpoint(args.rdzv_endpoint, -1)
    os.environ |= {
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RESTART_COUNT": str(args.max_restarts),
    }
    with suppress(RuntimeError):  # machine 0, which keeps the store, may be gone
        peers.Store().note(failure)


@ends_with_a_sentence()
def main() -> None:
    logging.disable(logging.ERROR)
    launcher.register()
    args = run.parse_args(None)
    try:
        run.run(args)
    except ChildFailedError as error:
        raise SystemExit(tell(args, error)) from None
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None


if __name__ == "__main__":
    main()
