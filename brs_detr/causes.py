"""What lies behind an error of the system, of torch or of a data loader's worker: the file, the cause and the remedy.

Data loaders' workers, and constructors that mmengine calls, send errors as text only; so do libraries written in C++.
"""

import errno
import os
import re
import traceback
from collections.abc import Callable

SPACE = "free some space or choose another place"
PLACE = "choose another place"
LIMIT = "raise the limit, `ulimit -n 65536`, or lower num_workers of the data loaders"
MEMORY = (
    "not enough memory{where}: lower the batch size (train_dataloader.batch_size, or --images of time-loss), use "
    "--checkpoint-activations, or take smaller images"
)
WORKER = (
    "a data loader's worker was killed{signal}, perhaps by the system for want of memory: lower "
    "train_dataloader.num_workers or the batch size"
)
LOST = re.compile(  # what gloo, NCCL and torch's store say where another process, or the way to it, is gone
    r"Connection (closed|reset) by peer|Connection refused|Broken pipe|Socket closed|Read error \[|Timed out waiting|"
    r"NCCL (error|communicator)|ncclRemoteError|TCPStore|Application timeout caused pair closure",
    re.IGNORECASE,
)
CONTACT = (
    "no contact to another process ({cause}): look for what it says itself, and at the network between the machines; "
    "NCCL_DEBUG=INFO shows more of GPUs"
)
SHARED = (
    "the data loaders' workers lack shared memory: enlarge /dev/shm (docker run --shm-size=8g), or set "
    "train_dataloader.num_workers=0"
)
NCCL_SHARED = "NCCL lacks shared memory: enlarge /dev/shm (docker run --shm-size=8g)"

# What a system's error means to a user, and the remedy.
ERRNO: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", SPACE),
    errno.EDQUOT: ("your quota of this disk is used up", SPACE),
    errno.EFBIG: ("the file would be larger than is allowed here", PLACE),
    errno.EROFS: ("the disk is read-only", PLACE),
    errno.EACCES: ("permission denied", f"change its permissions, or {PLACE}"),
    errno.EPERM: ("permission denied", f"change its permissions, or {PLACE}"),
    errno.ENOENT: ("there is no such file or folder", "correct its name"),
    errno.EISDIR: ("it is a folder", "give a file"),
    errno.ENOTDIR: ("a file stands where a folder is needed", PLACE),
    errno.EEXIST: ("something of this name exists", "choose another name"),
    errno.ENOTEMPTY: ("the folder is not empty", PLACE),
    errno.EMFILE: ("this program has too many files open", LIMIT),
    errno.ENFILE: ("this machine has too many files open", "end other programs"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter one"),
    errno.ELOOP: ("its links lead in a circle", "remove one of them"),
    errno.EIO: ("the disk fails", "look at the system's log, and move your files to another disk"),
    errno.ESTALE: ("the network disk has lost it", "mount it again"),
    errno.EBUSY: ("it is in use", "end the program that uses it"),
    errno.EPIPE: ("a process that was to read it has ended", "look for its message"),
}

# What libraries say instead: a pattern, and what it stands for.
NO_TEMPORARY = re.compile(r"No usable temporary directory")
TEXTS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (NO_TEMPORARY, lambda found: "no folder for temporary files can be written to: free some space, or set TMPDIR"),
    (re.compile(r"CUDA out of memory"), lambda found: MEMORY.format(where=" on the GPU")),
    (
        re.compile(r"can't allocate memory|Unable to allocate|bad_alloc|-4:Insufficient memory|not enough memory"),
        lambda found: MEMORY.format(where=""),
    ),
    (re.compile(r"shared memory \(shm\)|unable to (mmap|resize|write).*(shm|shared memory)"), lambda found: SHARED),
    (
        re.compile(r"DataLoader worker .* (?:killed by (signal: \w+)|exited unexpectedly)"),
        lambda found: WORKER.format(signal=f" ({found[1]})" if found[1] else ""),
    ),
    (re.compile(r"NCCL.*shared memory segment", re.DOTALL), lambda found: NCCL_SHARED),
    (re.compile(r"\(os error (\d+)\)"), lambda found: of_number(int(found[1]))),
    (re.compile(r"Too many open files|items of ancdata"), lambda found: of_number(errno.EMFILE)),
    (re.compile(r"No space left on device"), lambda found: of_number(errno.ENOSPC)),
    (re.compile(r"\[Errno (\d+)\][^:\n]*(?:: '([^'\n]*)')?"), lambda found: of_number(int(found[1]), found[2])),
]
UNWRITTEN = re.compile(r"PytorchStreamWriter|unexpected pos")  # how torch.save ends on a full disk
MOST = 300  # signs of a message that may quote a whole config
FRAME = re.compile(r'File "([^"\n]*)", line (\d+)')  # in a traceback that a worker sends


def of_number(number: int, file: object = None) -> str:
    """The sentence for an error number of the system, in which a file may have a part."""
    if number == errno.ENOMEM:
        return MEMORY.format(where="") + "."
    cause, remedy = ERRNO.get(number, (os.strerror(number), "look at the system's log"))
    return f"{file}: {cause}; {remedy}." if file else f"{cause}; {remedy}."


def cause_of(error: BaseException) -> str | None:
    """The sentence for an error of the system, of want of memory, or of lost contact to a process; None for others."""
    if isinstance(error, OSError) and error.errno is not None and not NO_TEMPORARY.search(str(error)):
        return of_number(error.errno, error.filename2 or error.filename)
    text = str(error)
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError) and UNWRITTEN.search(text):
        return cause_of(error.__context__)
    if isinstance(error, (OSError, RuntimeError, MemoryError)) or "Insufficient memory" in text or "(os error" in text:
        for pattern, meaning in TEXTS:
            if found := pattern.search(text):
                return meaning(found).rstrip(".") + "."
    if is_lost(error):
        return CONTACT.format(cause=_shortened(text.rsplit("Last error:", 1)[-1])) + "."
    return MEMORY.format(where="") + "." if isinstance(error, MemoryError) else None


def is_lost(error: BaseException) -> bool:
    """Whether contact to another process is lost, as when that has ended."""
    return isinstance(error, RuntimeError) and bool(LOST.search(str(error)))


def name_of(error: BaseException) -> str:
    """Kind and message of an error in one line, as ``KeyError: name``; a worker's error ends with them."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if FRAME.search(text):
        name = text.strip().splitlines()[-1]
    else:
        frames = traceback.extract_tb(error.__traceback__)
        name = f"{type(error).__name__}: {text or (frames[-1].line if frames else '')}"
    return _shortened(name)


def _shortened(text: str) -> str:
    text = " ".join(text.split()).rstrip(".: ")
    return text if len(text) <= MOST else f"{text[:MOST]} ..."


def origin(error: BaseException) -> str:
    """File and line in which an error was raised."""
    sent = FRAME.findall(str(error))
    if sent:
        path, line = sent[-1]
    else:
        frames = traceback.extract_tb(error.__traceback__)
        path, line = (frames[-1].filename, frames[-1].lineno) if frames else ("<unknown>", 0)
    return f"{'/'.join(path.split(os.sep)[-3:])}, line {line}"
