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


def browser(folder: Path, apt: str | None, **variables: str) -> subprocess.CompletedProcess:
    """Runs `install_browser` on a machine without one. apt: the program apt-get, None for a machine without."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "python3"):
        (tools / name).symlink_to(next(p for p in (Path("/bin") / name, Path("/usr/bin") / name) if p.exists()))
    (tools / "id").write_text("#!/bin/bash\necho 0\n")
    if apt is not None:
        (tools / "apt-get").write_text(f"#!/bin/bash\n{apt}\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    command = f"set -euo pipefail; source {ROOT}/scripts/setup_env.sh; install_browser; echo done"
    environment = {"PATH": str(tools), "VENV": str(folder / "venv"), "HOME": str(folder)} | variables
    return subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("apt", "variables", "said", "warned"),
    [
        ('echo "$*" >>$HOME/apt', {"CI": "true"}, "Installing chromium\ndone\n", False),
        ("exit 1", {"CI": "true"}, "Installing chromium\ndone\n", True),
        (None, {"CI": "true"}, "done\n", False),
        ("exit 1", {}, "done\n", False),
        ("exit 1", {"CI": "true", "CHROMIUM": "bash"}, "done\n", False),
    ],
)
def test_a_browser_is_installed_in_ci_alone(
    tmp_path: Path, notes: Path, apt: str | None, variables: dict[str, str], said: str, warned: bool
) -> None:
    result = browser(tmp_path, apt, **variables)
    assert (result.returncode, result.stdout) == (0, said)
    assert ("could not be installed" in result.stderr) == warned
    assert (tmp_path / "apt").exists() == (apt is not None and "HOME" in apt)
