"""torch's launcher of several processes, which leaves the last word to them: arguments are those of torchrun."""

import logging
import os
import signal
import socket
import sys
import time
from argparse import Namespace
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
    """Say which processes were killed and could not say it, here and to other machines; the status to end with."""
    host, port = parse_rendezvous_endpoint(args.rdzv_endpoint, -1)
    os.environ |= {
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RESTART_COUNT": str(args.max_restarts),
    }
    codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
    by_torch = {0, -signal.SIGTERM}
    killed = {rank: -code for rank, code in codes.items() if code < 0 and code not in by_torch}
    for rank, number in killed.items():
        text = KILLED.format(name=signal.Signals(number).name)
        failure = peers.Failure(rank, socket.gethostname(), 128 + number, text)
        print(f"error (rank {rank} on {failure.host}): {text}", file=sys.stderr)
        if args.nnodes != "1":
            peers.Store().note(failure)
    if args.nnodes != "1":
        time.sleep(2 * peers.PERIOD)  # the store may end with this process, and the others read it each period
    if killed:
        return 128 + max(killed.values())
    return max(*codes.values(), 0) or 128 + signal.SIGTERM


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
