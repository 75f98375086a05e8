"""Several processes end together: the first one that fails says why, and the others follow within seconds.

An error leaves the other processes in a collective operation that never ends (NCCL), or ends with an error about
sockets that says nothing to a user (gloo). So the first failure is noted in the store by which the processes found each
other; each of them looks there every second, in a thread, and ends if it has not done so by itself.
"""

import json
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NamedTuple

import torch.distributed as dist

from brs_detr.causes import is_lost
from brs_detr.endings import UNEXPECTED, ending_of, speaker
from brs_detr.errors import printable

PERIOD, GRACE = 1.0, 3.0  # seconds between looks, and until a process that does not end by itself is ended
CONNECTION = timedelta(seconds=30)


class Failure(NamedTuple):
    """Who failed first, and how it ended.

    rank: -1 where that is not known.
    lowest: rank of its machine; containers on several machines may have one name.
    """

    rank: int
    lowest: int
    host: str
    status: int
    text: str


LOST_CONTACT = Failure(-1, -1, "", UNEXPECTED, "another process has ended without a message, see its machine")
ABANDONED = Failure(-1, -1, "", UNEXPECTED, "the launcher of this process has ended")


class Store:
    """The processes' common store, by a connection of its own.

    Raises:
        RuntimeError: in any method, the process that keeps the store has ended.
    """

    def __init__(self) -> None:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self.tcp = dist.TCPStore(address, port, is_master=False, timeout=CONNECTION)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun's store outlives its processes
        self.key = f"brs_detr/failure/{attempt}"

    def note(self, failure: Failure) -> Failure:
        """Note a failure unless there is one, and return the first."""
        return _read(self.tcp.compare_set(self.key, "", json.dumps(failure)))

    def first(self) -> Failure | None:
        return _read(self.tcp.get(self.key)) if self.tcp.check([self.key]) else None


def _read(content: bytes) -> Failure:
    return Failure(*json.loads(content))


class Watch(threading.Thread):
    """Ends this process some seconds after another one has failed."""

    def __init__(self) -> None:
        super().__init__(name="peers", daemon=True)
        self.store, self.left = Store(), threading.Event()
        self.launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None  # any other may leave
        self.known: Failure | None = None

    def run(self) -> None:
        while not self.left.wait(PERIOD):
            if (failure := self.failure()) and not self.left.wait(GRACE):
                announce(failure)
                end_at_once(failure.status)

    def failure(self) -> Failure | None:
        """The first failure, if there is one; what is known stays so when the store is gone."""
        if self.known is None:
            self.known = self._look()
        return self.known

    def _look(self) -> Failure | None:
        if self.launcher and os.getppid() != self.launcher:
            return ABANDONED
        try:
            return self.store.first()
        except RuntimeError:  # that of the process which keeps the store
            return LOST_CONTACT

    def failure_within(self, seconds: float) -> Failure | None:
        """Wait for one that another process has noted, since this one has lost contact to another."""
        deadline = time.monotonic() + seconds
        while self.failure() is None and time.monotonic() < deadline:
            time.sleep(PERIOD / 10)
        return noted()

    def note(self, failure: Failure) -> Failure:
        try:
            return self.store.note(failure)
        except RuntimeError:
            return failure


_watch: Watch | None = None


def join() -> None:
    """Watch the others from now on; to be called once the process group exists."""
    global _watch
    _watch = Watch()
    _watch.start()


def leave() -> None:
    """Watch no more."""
    global _watch
    if _watch:
        _watch.left.set()
        _watch.join()
        _watch = None


def noted() -> Failure | None:
    """The failure that a process has noted as the first."""
    failure = _watch.failure() if _watch else None
    return failure if failure and failure.rank >= 0 else None


@contextmanager
def together() -> Iterator[None]:
    """Surround a program: its error is noted for the others, or is not said again where it is theirs.

    Raises:
        SystemExit: in place of an error that another process has said, or that follows from another's end.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if _watch is None:
            raise
        text, status = ending_of(error)
        own = Failure(rank(), _lowest(), socket.gethostname(), status, text)
        lost = is_lost(error)
        first = (_watch.failure_within(GRACE) if lost else None) or _watch.note(own)
        if first == own or not (lost or first.text == own.text):
            if keeps_store():
                time.sleep(2 * PERIOD)  # it ends with this process, and the others read it each period
            raise
        announce(first)
        raise SystemExit(first.status) from None


def announce(failure: Failure) -> None:
    """Say of which failure this process ends, unless somebody says it on the same terminal."""
    same_machine = (failure.host, failure.lowest) == (socket.gethostname(), _lowest())
    if same_machine or os.environ.get("LOCAL_RANK", "0") != "0":
        return
    who = f"rank {failure.rank} on {printable(failure.host)} ended: " if failure.rank >= 0 else ""
    with suppress(OSError):
        print(f"{speaker()}: {who}{failure.text}", file=sys.stderr, flush=True)


def end_at_once(status: int) -> None:
    """End the process, whatever its main thread waits for, and its data loaders' workers."""
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(status)


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _lowest() -> int:
    """The lowest rank of this machine."""
    return rank() - int(os.environ.get("LOCAL_RANK", "0"))


def keeps_store() -> bool:
    """Whether the store ends with this process; torchrun keeps one itself."""
    return rank() == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
