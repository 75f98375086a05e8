"""What a program says at its end, and its status: causes of the system, Ctrl-C, closed pipes, mistakes of its own."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from brs_detr import endings
from brs_detr.causes import ERRNO
from brs_detr.errors import IncompleteError, InputError
from tests.scripts.processes import environment


def interrupted() -> None:
    try:
        raise KeyboardInterrupt
    except BaseException as error:
        raise SyntaxError("mmengine cannot format a config") from error


def of_a_worker() -> RuntimeError:
    text = 'Caught KeyError in DataLoader worker process 0.\n  File "/a/b/c/own.py", line 7, in get\nKeyError: 5\n'
    return RuntimeError(text)


def while_handling(error: OSError, text: str) -> RuntimeError:
    raised = RuntimeError(text)
    raised.__context__ = error
    return raised


FULL = OSError(errno.ENOSPC, "No space", "out.pth")
NO_SHARED = (
    "NCCL error in: a.cpp:93, unhandled system error\nLast error:\nError while creating shared memory segment /x"
)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("it is wrong."), endings.REFUSED, ["it is wrong."]),
        (IncompleteError("one of two."), endings.INCOMPLETE, ["one of two."]),
        (KeyboardInterrupt(), endings.INTERRUPTED, ["interrupted"]),
        (OSError(errno.ENOSPC, "No space", "out.pth"), endings.REFUSED, ["out.pth: the disk is full; free some space"]),
        (OSError(errno.EROFS, "", "a\x1b"), endings.REFUSED, [r"a\x1b: the disk is read-only; choose another place."]),
        (PermissionError(errno.EACCES, "", "a"), endings.REFUSED, ["a: permission denied; change its permissions"]),
        (OSError(errno.EMFILE, ""), endings.REFUSED, ["too many files open; raise the limit, `ulimit -n"]),
        (MemoryError(), endings.REFUSED, ["not enough memory: lower the batch size", "--checkpoint-activations"]),
        (RuntimeError("CUDA out of memory. Tried 9 GiB"), endings.REFUSED, ["not enough memory on the GPU", "smaller"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), endings.REFUSED, ["not enough memory: lower"]),
        (RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed."), endings.REFUSED, ["num_workers"]),
        (while_handling(FULL, "[enforce] . unexpected pos 64 vs 0"), endings.REFUSED, ["out.pth: the disk is full"]),
        (while_handling(FULL, "its own message"), endings.UNEXPECTED, ["RuntimeError: its own message"]),
        (
            RuntimeError("[gloo] Connection closed by peer"),
            endings.REFUSED,
            ["no contact", "closed by peer"],
        ),
        (RuntimeError("NCCL error\nLast error:\nx\n"), endings.REFUSED, ["no contact to another process (x):"]),
        (RuntimeError(NO_SHARED), endings.REFUSED, ["NCCL lacks shared memory: enlarge /dev/shm"]),
        (KeyError("name"), endings.UNEXPECTED, ["unexpected KeyError: name", "--debug shows the traceback"]),
        (of_a_worker(), endings.UNEXPECTED, ["unexpected KeyError: 5 in b/c/own.py, line 7"]),
    ],
)
def test_one_sentence_and_a_status(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught, endings.ends_with_a_sentence([]):
        raise error
    said = capsys.readouterr().err
    assert caught.value.code == status
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert all(each in said for each in words), said


def test_an_interruption_that_a_library_made_another_error_of() -> None:
    with pytest.raises(SystemExit) as caught, endings.ends_with_a_sentence([]):
        interrupted()
    assert caught.value.code == 130


def test_debug_shows_the_traceback_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), endings.ends_with_a_sentence(["--debug"]):
        raise InputError("it is wrong.")
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last == "error: it is wrong."


def test_every_cause_has_a_remedy() -> None:
    assert {"ENOSPC", "EROFS", "EACCES", "EISDIR", "ENOTDIR", "EMFILE"} <= {errno.errorcode[number] for number in ERRNO}
    assert all(cause and remedy for cause, remedy in ERRNO.values())


@pytest.mark.parametrize(
    ("sink", "status", "said"),
    [("| head -c 1 > /dev/null", 141, "output was closed"), ("> /dev/full", 2, "the disk is full; free some space")],
)
def test_an_output_that_takes_no_more(tmp_path: Path, sink: str, status: int, said: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from brs_detr.endings import ends_with_a_sentence\n"
        "with ends_with_a_sentence([]):\n    for number in range(10**5):\n        print(number)\n"
    )
    command = f"{sys.executable} {program} {sink}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True)
    assert done.returncode == status
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_an_error_that_is_its_own_cause_has_an_end() -> None:
    error = RuntimeError("wrong")
    error.__cause__ = error
    assert endings.ending_of(error).text.startswith("unexpected RuntimeError")
