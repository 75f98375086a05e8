"""Signals that ask a training to stop: it ends its iteration, saves, and says how to continue.

signal                                 exit code   sent by
SIGTERM                                143         schedulers and clouds that take a machine away, torchrun
SIGINT                                 130         Ctrl-C
SIGUSR1                                75          Slurm's ``--signal=USR1@SECONDS``; "put me into the queue again"

A second signal ends the process at once, and so does the first where nothing is new: in the first iteration.
"""

import functools
import logging
import multiprocessing
import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn, ParamSpec

from brs_detr import peers
from brs_detr.causes import is_lost
from brs_detr.errors import printable

REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: try again later
EXIT_CODES = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 128 + signal.SIGINT, signal.SIGUSR1: REQUEUE}
COMMAND = "BRS_DETR_COMMAND"  # set by the shell scripts: what the user has typed
BEGINNING = "before the end of its first iteration"
SAME = 2.0  # seconds within which one request may come twice: from a launcher that was sent it, too
REACTION = 1.0  # seconds until a main thread that runs no handler is taken for waiting in C++; less than SAME
FOLLOWS = 3.0  # seconds until a launcher that sees one process leave has signalled the others
Arguments = ParamSpec("Arguments")


class Preempted(BaseException):
    """A signal ends the training.

    done: what was reached and saved.
    """

    def __init__(self, signum: int, done: str) -> None:
        super().__init__(done)
        self.signum, self.done = signal.Signals(signum), done


class Signals:
    """Which signal this process has received; there is one such object, as there is one handler of a signal.

    received: the first one's number, 0 where there is none.
    safe: while there is nothing to be lost, what was reached and saved: a signal then ends the process wherever it
        is. None while it is noted only, for the end of an iteration.
    raised: what the handler has raised, and what it has interrupted may have turned into another error.
    """

    def __init__(self) -> None:
        self.received = 0
        self.safe: str | None = None
        self.raised: Preempted | None = None
        self._process = 0

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals of EXIT_CODES. Outside the main thread, which alone can, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.received, self.raised, self.safe, self._process = 0, None, BEGINNING, os.getpid()
        previous = {signum: signal.signal(signum, self._handle) for signum in EXIT_CODES}
        try:
            with self._watched():
                yield
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Read in a thread, too, which signals come: the main one runs no handler while it waits in C++."""
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(reader,), name="signals", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            writer.send(b"\0")
            watcher.join()
            reader.close()
            writer.close()

    def _watch(self, reader: socket.socket) -> None:
        first, at = 0, 0.0
        while number := reader.recv(1)[0]:  # 0 is no signal's
            if number not in EXIT_CODES:
                continue
            if not first:
                first, at = number, time.monotonic()
                if self.safe is not None:
                    self.wait(REACTION)
                if self.safe is not None and not self.received:
                    peers.end_at_once(_say(Preempted(number, self.safe)))
            elif time.monotonic() - at > SAME:  # without any tidying up: whole files are whole at every moment
                os.write(2, b"\nStopped at once; the last checkpoint is whole.\n")
                peers.end_at_once(EXIT_CODES[signal.Signals(first)])

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a data loader's worker has inherited the handler
            return
        if not self.received:
            self.received = signum
            if self.safe is not None:
                self.raised = Preempted(signum, self.safe)
                raise self.raised

    def wait(self, seconds: float) -> None:
        """Wait for a signal.

        Raises:
            Preempted: it came while there was nothing to be lost.
        """
        deadline = time.monotonic() + seconds
        while not self.received and time.monotonic() < deadline:
            time.sleep(0.05)


SIGNALS = Signals()


def protect_worker(worker: int) -> None:
    """In a data loader's worker: end when the training says so, not when a signal for all processes arrives.

    Schedulers, terminals and torchrun signal all processes of a training. Without its workers it could not end the
    iteration. A signal tells its sender to those who wait for it only, hence a thread.
    """
    signal.set_wakeup_fd(-1)  # the training's, inherited
    for signum in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for, args=(os.getppid(),), daemon=True).start()


def _wait_for(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def continuing_command() -> str:
    """The command that started this training, with ``--resume auto``."""
    words, value = [], False
    for word in shlex.split(os.environ.get(COMMAND, "")) or sys.orig_argv:
        dropped = value and not word.startswith("-")  # the checkpoint after --resume
        value = word == "--resume"
        if not (dropped or value or word == "--overwrite" or word.startswith("--resume=")):
            words.append(word)
    return shlex.join([*words, "--resume", "auto"])


def preemptible(train: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Decorate a training: a signal ends the process with one line, its workers gone, and the signal's exit code."""

    @functools.wraps(train)
    def program(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        with SIGNALS.handled():
            try:
                _explained(train, *args, **kwargs)
            except Preempted as stop:
                _leave(stop)

    return program


def _explained(train: Callable[Arguments, None], *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
    """Raises Preempted in place of an error that a signal has caused, in this process or in another."""
    try:
        train(*args, **kwargs)
    except Exception as error:
        if lost := is_lost(error):  # perhaps contact to one that was signalled
            SIGNALS.wait(FOLLOWS)
        if SIGNALS.raised:
            raise SIGNALS.raised from None
        if SIGNALS.received and lost:
            raise Preempted(SIGNALS.received, f"amid an iteration, as other processes left ({error})") from None
        raise


def _leave(stop: Preempted) -> NoReturn:
    """End the process here: at Python's own exit torch waits for workers, and threads of gloo and NCCL may abort it."""
    for signum in EXIT_CODES:  # a launcher that sees one process leave signals the others; their exit codes shall stay
        signal.signal(signum, signal.SIG_IGN)
    status = _say(stop)
    logging.shutdown()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler takes a worker's end for an error
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join(1)
    os._exit(status)


def _say(stop: Preempted) -> int:
    """Say why the process ends; its exit code."""
    if failure := peers.noted():  # for which the launcher has signalled this process
        peers.announce(failure)
        return failure.status
    with suppress(OSError):  # the terminal may be closed
        if peers.rank() == 0:
            line = f"Stopped by {stop.signum.name} {stop.done}. Continue with: {continuing_command()}"
            print(printable(line), file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    return EXIT_CODES[stop.signum]
