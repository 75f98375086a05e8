"""The GPU benchmark without a GPU: its dry run, its processes, and that it finds what is wrong."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial, wraps
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import hot_spots, isolation, loss_checks, operator_checks, steps, summary
from benchmarks.gpu.cases import Row, Setting
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.results import DRY_RUN, Results
from brs_detr.errors import InputError
from tests.reference import ROOT

TRAININGS = ("digits", "processes")  # which tests/scripts take
SMALL, LARGE = Setting("cpu", True, Path("nowhere")), Setting("cuda", False, Path("nowhere"))


@pytest.fixture(autouse=True)
def _handler_of_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_dry_run_goes_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    parts = [name for name in PARTS if name not in TRAININGS]
    command.main(["--dry-run", "--out", str(tmp_path), "--only", *parts])
    pages = {path.stem.removeprefix("gpu_"): path.read_text() for path in tmp_path.glob("gpu_*.md")}
    assert pages.keys() == {*parts, "summary"}
    assert all(page.startswith(DRY_RUN) for page in pages.values())
    assert not any("Not measured" in page for page in pages.values())
    assert "15 agree; 15 repeat bit for bit" in pages["summary"]
    assert "brs-detr r50 in fp32 takes" in pages["summary"]
    assert pages["summary"] in capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = sorted(command.RESULTS.iterdir())
    assert refused(capsys).startswith("error: torch finds no GPU here")
    assert "needs --out" in refused(capsys, "--dry-run")
    assert "needs --out" in refused(capsys, "--dry-run", "--out", str(command.RESULTS))
    assert "needs a number above 0" in refused(capsys, "--minutes", "nan")
    assert sorted(command.RESULTS.iterdir()) == before


def rows() -> list[Row]:
    print("words for the log")
    return [{"ms": 1.0}]


def refuse() -> list[Row]:
    raise InputError("this GPU has no bfloat16.")


def crash() -> list[Row]:
    ctypes.string_at(0)
    return []


def leave() -> list[Row]:
    sys.exit(3)


def hang(folder: Path) -> list[Row]:
    child = subprocess.Popen(["sleep", "600"])
    (folder / "child").write_text(str(child.pid))
    time.sleep(600)
    return []


def test_a_process_for_each_case(tmp_path: Path) -> None:
    def outcome(measure: Callable[[], list[Row]], seconds: float = 60.0) -> tuple[list[Row] | None, str | None]:
        return isolation.in_a_process(measure, seconds, tmp_path / "log")

    assert outcome(rows) == ([{"ms": 1.0}], None)
    assert outcome(refuse) == (None, "this GPU has no bfloat16.")
    assert outcome(crash) == (None, "its process ended by SIGSEGV.")
    assert outcome(leave)[0] is None
    assert "it was ended after 5 s" in str(outcome(partial(hang, tmp_path), 5.0)[1])
    with pytest.raises(ProcessLookupError):
        wait_for_end(int((tmp_path / "child").read_text()))
    log = (tmp_path / "log").read_text()
    assert "words for the log" in log
    assert "InputError: this GPU has no bfloat16." in log


def hang_for(receiver: Connection, sender: Connection, folder: Path) -> None:
    receiver.close()
    isolation._work(partial(hang, folder), sender, folder / "log")


def test_what_is_under_way_ends_with_the_command(tmp_path: Path) -> None:
    receiver, sender = Pipe(duplex=False)
    process = get_context("fork").Process(target=hang_for, args=(receiver, sender, tmp_path))
    process.start()
    started = tmp_path / "child"
    while process.is_alive() and not (started.exists() and started.read_text()):
        time.sleep(0.1)
    receiver.close()  # as if the command were killed
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        wait_for_end(int(started.read_text()))


def wait_for_end(pid: int) -> None:
    """Raises ProcessLookupError as soon as the process is gone."""
    for _ in range(100):
        os.kill(pid, 0)
        if "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            raise ProcessLookupError
        time.sleep(0.1)


IMPORTING = """
import os, torch
torch.cuda._device_count_nvml = lambda: 1  # as where NVML is
import benchmarks.gpu.parts

def spoilt_fork() -> int:
    if not (child := os.fork()):
        os._exit(torch.cuda._is_in_bad_fork())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

imported = spoilt_fork()
torch._C._cuda_getDeviceCount()
print(imported, spoilt_fork())
"""


def test_forks_of_a_process_that_has_imported_everything_may_use_the_gpu() -> None:
    ended = subprocess.run([sys.executable, "-c", IMPORTING], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout == "0 1\n"  # once CUDA was asked, forks may not use it


def test_kernels_side_by_side_count_once() -> None:
    assert hot_spots.busy([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 1.6)]) == 4.0
    assert hot_spots.busy([]) == 0.0


def test_a_wrong_loss_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    way = loss_checks.Way("pairwise", "torch")

    @wraps(loss_checks.ap_loss)
    def wrong(problems: list[tuple], **settings: Any) -> Any:
        result = loss_checks.ap_loss(problems, **settings)
        return result if problems[0][0].dtype == torch.float64 else [1.0001 * loss for loss in result]

    (right,) = loss_checks.check("AP", way, "fp32", SMALL)
    assert right["agrees"]
    monkeypatch.setitem(loss_checks.LOSSES, "AP", wrong)
    (row,) = loss_checks.check("AP", way, "fp32", SMALL)
    assert row["agrees"] is False
    assert row["gradient"] == pytest.approx(1e-4, rel=0.1)
    results = Results(tmp_path, {"device": "a processor", "dry run": True})
    results.parts = {"losses": {"AP": {"rows": [row, right]}}}
    assert summary.problems(results)[0].startswith("1 of 2 results do not agree")


def test_a_wrong_operator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    nms = operator_checks.OPERATORS["nms"]
    assert operator_checks.check("nms", "fp16", SMALL)[0]["agrees"]

    def wrong(boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        kept = nms.run(boxes, scores)
        return kept if boxes.dtype == torch.float64 else kept[:-1]

    monkeypatch.setitem(operator_checks.OPERATORS, "nms", nms._replace(run=wrong))
    assert operator_checks.check("nms", "fp16", SMALL)[0]["agrees"] is False


def test_numbers_that_are_none_are_not_taken_for_right(monkeypatch: pytest.MonkeyPatch) -> None:
    focal = operator_checks.OPERATORS["focal loss"]

    def nothing(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return focal.run(logits, labels) * (1.0 if logits.dtype == torch.float64 else float("nan"))

    monkeypatch.setitem(operator_checks.OPERATORS, "focal loss", focal._replace(run=nothing))
    assert operator_checks.check("focal loss", "fp32", SMALL)[0]["agrees"] is False


@pytest.mark.parametrize("setting", [SMALL, LARGE])
def test_all_cases_have_names_of_their_own(setting: Setting) -> None:
    for part in PARTS.values():
        names = [case.name for case in part.cases(setting)]
        assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize("variant", dict.fromkeys(v._replace(attention="", recompute=False) for v in steps.VARIANTS))
def test_configs_of_the_steps(variant: steps.Variant) -> None:
    config = variant.config(LARGE)
    assert config.model.type == "CoDETR"
    assert (config.optim_wrapper.type == "BFloat16OptimWrapper") == (variant.precision == "bf16")
