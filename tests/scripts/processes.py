"""The scripts as users run them: other processes, with a tiny model on tiny data."""

import gc
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.processes import CONTEXT

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "engine" / "tiny_dino.py"

CONFIG = """
_base_ = {base!r}
custom_imports = dict(
    imports=["brs_detr.registry", "tests.scripts.state_dump"], allow_failed_imports=False, _delete_=True
)
data_root = {data!r}
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
train_dataloader = dict(**val_dataloader, batch_size=2)
val_evaluator = dict(ann_file=data_root + "/annotations/val.json")
test_evaluator = dict(ann_file=data_root + "/annotations/val.json")
custom_hooks = [dict(type="StateDumpHook")]
default_hooks = dict(logger=dict(interval=1))
"""


def write_config(folder: Path, data: Path, detector: Path = TINY) -> Path:
    """A detector, by default the smallest, on this data, as a config file in the folder."""
    path = folder / "tiny.py"
    path.write_text(CONFIG.format(base=str(detector), data=str(data)))
    return path


def environment() -> dict[str, str]:
    """As a user's, where kernels are not interpreted."""
    own = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return own | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}


def start(folder: Path, *command: object, prefix: Sequence[str] = (), **variables: object) -> subprocess.Popen:
    """Start a command in a folder; a name ending in .py or .sh is one of the scripts.

    prefix: a command that starts the command; variables: of its environment.
    """
    script = ROOT / "scripts" / str(command[0])
    interpreter = sys.executable if script.suffix == ".py" else "bash"
    return subprocess.Popen(
        [*prefix, interpreter, script, *map(str, command[1:])],
        cwd=folder,
        env=environment() | {name: str(value) for name, value in variables.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *command: object) -> subprocess.CompletedProcess:
    """Run a command to its end, see :func:`start`."""
    return end(start(folder, *command))


def end(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """Wait for the end of a process, which is killed if it takes too long."""
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def forked(folder: Path, *command: object) -> subprocess.CompletedProcess:
    """As `run`, of a script of Python, in a process that begins with everything imported: seconds less."""
    with tempfile.TemporaryDirectory() as place:
        streams = [Path(place, name) for name in ("output", "errors")]
        process = CONTEXT.Process(target=_script, args=(folder, list(map(str, command)), streams))
        process.start()
        process.join(300)
        process.kill()
        process.join()
        return subprocess.CompletedProcess(command, process.exitcode or 0, *(path.read_text() for path in streams))


def _script(folder: Path, command: list[str], streams: list[Path]) -> None:
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
    gc.freeze()
    torch.set_num_threads(1)
    os.chdir(folder)
    sys.argv = [str(ROOT / "scripts" / command[0]), *command[1:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
