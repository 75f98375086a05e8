"""How programs end: with one sentence on the error stream, and a status that says what kind of end it was.

status         meaning
REFUSED        something given, or the machine, does not allow it; the sentence says the remedy
INCOMPLETE     some of what was given could not be used, all else is done
UNEXPECTED     an error that nobody has foreseen
INTERRUPTED    Ctrl-C
BROKEN_PIPE    nobody reads the output any more, as after ``| head``
"""

import io
import os
import select
import socket
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, TextIO

from brs_detr.causes import cause_of, name_of, origin
from brs_detr.errors import IncompleteError, InputError, printable, sentence

REFUSED, INCOMPLETE, UNEXPECTED, INTERRUPTED, BROKEN_PIPE = 2, 1, 1, 130, 141
DEBUG = "--debug"


class Ending(NamedTuple):
    """What a program says and returns at its end."""

    text: str
    status: int


def ending_of(error: BaseException) -> Ending:
    """How a program ends because of an error."""
    if any(isinstance(each, KeyboardInterrupt) for each in _chain(error)):  # which libraries turn into other errors
        return Ending("interrupted from the keyboard; files written so far are whole.", INTERRUPTED)
    if isinstance(error, InputError):
        return Ending(sentence(error), INCOMPLETE if isinstance(error, IncompleteError) else REFUSED)
    if isinstance(error, BrokenPipeError) and _is_closed(sys.stdout):
        return Ending("the output was closed by the program that reads it, so this one ended early.", BROKEN_PIPE)
    if cause := cause_of(error):
        return Ending(printable(cause), REFUSED)
    text = f"unexpected {name_of(error)} in {origin(error)} ({DEBUG} shows the traceback)"
    return Ending(printable(text), UNEXPECTED)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those in whose handling it was raised, each once: one that is its own cause ends it."""
    seen: set[int] = set()
    while error and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def add_debug(parser: ArgumentParser) -> None:
    """Let a program know the option that `ends_with_a_sentence` reads."""
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of an error, too")


@contextmanager
def ends_with_a_sentence(arguments: Sequence[str] | None = None) -> Iterator[None]:
    """Decorate a program, or surround it: whatever ends it early is printed as one sentence, without traceback.

    arguments: of the program, those of the process if None; with ``--debug`` among them a traceback is printed, too.

    Raises:
        SystemExit: in place of the error, with its status.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # a closed pipe or a full disk may show only now
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError) and error.errno and _is_closed(sys.stdout):
            error.filename = error.filename or "standard output"
        ending = ending_of(error)
        with suppress(OSError):  # the error stream may be closed or full, too
            if DEBUG in (sys.argv if arguments is None else arguments):
                traceback.print_exc()
            print(f"{speaker()}: {ending.text}", file=sys.stderr, flush=True)
        if _is_closed(sys.stdout):
            _discard_output()
        raise SystemExit(ending.status) from None


def speaker() -> str:
    """What a sentence begins with: where there are several processes it says which."""
    rank, processes = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return "error" if processes == "1" else f"error (rank {rank} on {printable(socket.gethostname())})"


def _is_closed(stream: TextIO) -> bool:
    """Whether a stream takes no more: it says so only if something is left in its buffer, unlike the system."""
    try:
        stream.flush()
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except io.UnsupportedOperation:  # a stream in memory
        return False
    except (OSError, ValueError):
        return True


def _discard_output() -> None:
    """Python would write what is left at its exit, and complain in several lines that it cannot."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
