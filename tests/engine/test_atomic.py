"""Files are whole or absent, also when the writer is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.fileio import get_file_backend

from brs_detr.engine import atomic

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys
from brs_detr.engine import atomic
print("ready", flush=True)
number = 0
while True:
    number += 1
    atomic.write_bytes(sys.argv[1], bytes([number % 256]) * 5_000_000)
"""


def test_a_failing_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    atomic.write_text(path, "old")

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_mmengine_writes_whole_files(tmp_path: Path) -> None:
    backend = get_file_backend(str(tmp_path))
    assert isinstance(backend, atomic.AtomicLocalBackend)
    backend.put(b"bytes", str(tmp_path / "deep" / "file"))
    assert (tmp_path / "deep" / "file").read_bytes() == b"bytes"


def test_a_kill_leaves_a_whole_file(tmp_path: Path) -> None:
    path, chance = tmp_path / "file", random.Random(0)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3 + chance.random() / 10)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = path.read_bytes()
        assert len(content) == 5_000_000
        assert len(set(content)) == 1
