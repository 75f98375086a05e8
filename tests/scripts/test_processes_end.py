"""Several processes end together, with one sentence that names the rank and the machine."""

import importlib.util
import re
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from brs_detr import peers
from tests.scripts.processes import ROOT, environment, run, write_config

pytestmark = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need no GPU or two")

# Rank 0 waits for something that never comes, as in a collective operation of NCCL; rank 1 fails.
ONE_WAITS = """
import os, sys, time
from brs_detr import endings, peers
from brs_detr.engine.running import distributed
with endings.ends_with_a_sentence([]), peers.together():
    distributed.start("pytorch")
    if os.environ["RANK"] == "0":
        time.sleep(300)
    raise OSError(28, "No space left on device", "epoch_1.pth")
"""


def sentences(result: subprocess.CompletedProcess) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("error")]


def test_an_image_that_one_process_cannot_read(tmp_path: Path, digits: Path) -> None:
    data = Path(shutil.copytree(digits, tmp_path / "data"))
    image = data / "train" / "000006.png"
    image.write_bytes(image.read_bytes()[:20])
    result = run(tmp_path, "dist_train.sh", write_config(tmp_path, data), 2, "--work-dir", "work", "--seed", 3)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    (said,) = sentences(result)
    assert re.match(rf"error \(rank [01] on \S+\): The image {image} cannot be read", said), said
    assert result.stderr.splitlines()[-1] == said  # no table of torchrun's after it


@pytest.mark.parametrize(
    ("codes", "status", "said"),
    [
        ({1: 2, 0: 143}, 2, ""),  # torchrun has signalled rank 0
        ({0: 2, 1: 143}, 2, ""),
        ({1: 2, 0: -9}, 2, ""),  # and killed it, since it did not end
        ({1: -9, 0: 143}, 137, "rank 1 on .* ended by SIGKILL"),
        ({0: -15, 1: 143}, 143, ""),
    ],
)
def test_what_ended_first_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    codes: dict[int, int],
    status: int,
    said: str,
) -> None:
    """Also where the machine that keeps the store is gone."""
    spec = importlib.util.spec_from_file_location("torchrun", ROOT / "scripts" / "torchrun.py")
    torchrun = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torchrun)
    failures = {rank: ProcessFailure(rank, 1, code, "") for rank, code in codes.items()}

    def gone() -> None:
        raise RuntimeError("Connection refused")

    monkeypatch.setattr(peers, "Store", gone)
    monkeypatch.setattr(peers, "PERIOD", 0)
    args = Namespace(nnodes="2", rdzv_endpoint="127.0.0.1:1", max_restarts=0)
    for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.setenv(name, "")
    assert torchrun.tell(args, ChildFailedError("train.py", failures)) == status
    errors = capsys.readouterr().err
    assert re.search(said, errors) if said else not errors


def test_a_download_that_fails(tmp_path: Path, digits: Path, free_port: int) -> None:
    address = f"http://127.0.0.1:{free_port}/nothing.pth"
    result = run(tmp_path, "dist_train.sh", write_config(tmp_path, digits), 2, "--load-from", address)
    assert result.returncode == 2
    (said,) = sentences(result)
    assert f"{address} cannot be downloaded (Connection refused): fetch it elsewhere" in said
    assert not (tmp_path / "work_dirs").exists()


def test_those_that_wait_end_within_seconds(tmp_path: Path, free_port: int) -> None:
    """Without a launcher that would end them."""
    program = tmp_path / "program.py"
    program.write_text(ONE_WAITS)
    common = environment() | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port)}
    both = [
        subprocess.Popen(
            [sys.executable, program],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = both[1].communicate(timeout=120)[1]
    start = time.monotonic()
    assert "error (rank 1 on " in said
    assert "epoch_1.pth: the disk is full; free some space" in said
    assert "error" not in both[0].communicate(timeout=60)[1]  # said once on a machine
    assert [process.returncode for process in both] == [2, 2]
    assert time.monotonic() - start < 10
