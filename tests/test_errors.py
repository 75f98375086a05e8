"""What a user reads where the input is at fault."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brs_detr.endings import ends_with_a_sentence
from brs_detr.errors import InputError, printable
from brs_detr.weights import LoadReport

ROOT = Path(__file__).resolve().parents[1]
ODD = "red\x1b[31m\r\nerror: none\x07\u202e\udcff"
ESCAPED = r"red\x1b[31m\r\nerror: none\x07\u202e\udcff"


def test_control_characters_are_escaped() -> None:
    assert printable(ODD) == ESCAPED
    assert printable("naïve 文字 \\n") == "naïve 文字 \\n"


def test_sentences_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    @ends_with_a_sentence()
    def program() -> None:
        raise InputError(f"The file {ODD} does not exist.")

    with pytest.raises(SystemExit) as caught:
        program()
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: The file {ESCAPED} does not exist.\n"


def test_reports_are_printable() -> None:
    report = LoadReport("somebody's", unexpected=[ODD])
    assert ESCAPED in str(report)
    assert ESCAPED in report.lack


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\x1b[2J.pth"
    Path(os.fsdecode(path)).write_bytes(b"<html>")
    script = ROOT / "scripts" / "convert_checkpoint.py"
    done = subprocess.run([sys.executable, script, path, "ours.pth"], capture_output=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: The file ")
    assert b"\\udcff\\x1b[2J.pth is not a checkpoint: it is a web page" in done.stderr
