"""The environment is made once and installed into once; what goes wrong is said."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.scripts.processes import ROOT

FAKE_PYTHON = """#!/usr/bin/env bash
# Notes how it is called; knows hashlib's program only.
case "$1" in
    -c) exec {real} "$@" ;;
    *) echo "$*" >>"{notes}"; exit ${{FAIL:-0}} ;;
esac
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Makes a virtual environment whose interpreter only writes down its arguments, into this file."""
    import sys

    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.write_text(FAKE_PYTHON.format(real=sys.executable, notes=tmp_path / "notes"))
    python.chmod(0o755)
    return tmp_path / "notes"


def setup(folder: Path, *files: str, **variables: str) -> subprocess.CompletedProcess:
    command = f"set -eu; source {ROOT}/scripts/setup_env.sh {' '.join(files)}; echo done"
    environment = os.environ | {"VENV": str(folder / "venv")} | variables
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)


def installed(notes: Path) -> list[str]:
    return [line.rsplit("/", 1)[-1] for line in notes.read_text().splitlines() if " install " in line]


def test_each_file_is_installed_once(tmp_path: Path, notes: Path) -> None:
    assert setup(tmp_path, "requirements.txt").stdout.endswith("done\n")
    assert installed(notes) == ["requirements.txt"]
    setup(tmp_path, "requirements.txt", "tests/requirements.txt")
    assert installed(notes) == ["requirements.txt", "requirements.txt"]
    setup(tmp_path, "requirements.txt", "tests/requirements.txt")
    assert len(installed(notes)) == 2


def test_a_failed_installation_is_tried_again(tmp_path: Path, notes: Path) -> None:
    (tmp_path / "venv" / "bin" / "python").write_text(
        (tmp_path / "venv" / "bin" / "python")
        .read_text()
        .replace("exit ${FAIL:-0}", '[[ "$*" != *install* ]]; exit $?')
    )
    result = setup(tmp_path, "requirements.txt")
    assert result.returncode == 2
    assert result.stderr == "error: installing requirements.txt failed, see above.\n"
    setup(tmp_path, "requirements.txt")
    assert len(installed(notes)) == 2


def test_a_machine_without_a_fitting_python(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "rm"):
        (tools / name).symlink_to(next(p for p in (Path("/bin") / name, Path("/usr/bin") / name) if p.exists()))
    result = setup(tmp_path, "requirements.txt", PATH=str(tools))
    assert result.returncode == 2
    assert result.stderr == "error: no Python 3.10 to 3.13 found: install one of them.\n"
