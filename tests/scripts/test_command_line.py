"""One command line, as `brs-detr COMMAND` and as scripts; without the detectors' packages it says what to install."""

import re
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from brs_detr import __version__, command_line
from brs_detr.engine import commands
from tests.scripts.processes import ROOT, environment


def test_every_command_has_a_script() -> None:
    assert set(command_line.COMMANDS) == set(commands.COMMANDS)
    called = [re.findall(r' run\("(.*)"\)', path.read_text()) for path in (ROOT / "scripts").glob("*.py")]
    assert sorted(filter(None, called)) == sorted([name] for name in commands.COMMANDS)


def test_nothing_heavy_before_a_command_is_chosen() -> None:
    program = "import sys, brs_detr.command_line; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True)
    assert "brs_detr.errors" in loaded.stdout.split()
    assert not {"torch", "numpy", "mmengine"} & set(loaded.stdout.split())


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Runs `brs-detr` with arguments in this process: exit status, output, errors."""

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["brs-detr", *arguments])
        status = 0
        try:
            command_line.main()
        except SystemExit as ended:
            status = ended.code
        output = capsys.readouterr()
        return status, output.out, output.err

    return called


def test_help_and_version(call: Callable[..., tuple[int, str, str]]) -> None:
    assert call("--version") == (0, f"{__version__}\n", "")
    status, output, _ = call("--help")
    assert status == 0
    assert all(f"  {name} " in output for name in commands.COMMANDS)
    status, output, _ = call("train", "--help")
    assert status == 0
    assert output.startswith("usage: brs-detr train ")
    assert "Train a config." in output


def test_a_misspelt_command(call: Callable[..., tuple[int, str, str]]) -> None:
    status, _, errors = call("trian", "config.py")
    assert status == 2
    assert "invalid choice: 'trian'" in errors


def test_arguments_reach_their_command(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(
        command_line, "import_commands", lambda: SimpleNamespace(run=lambda *given: calls.append(given))
    )
    call("train", "config.py", "--version")
    assert calls == [("train", ["config.py", "--version"], "brs-detr train")]


def test_a_config_that_does_not_exist(call: Callable[..., tuple[int, str, str]]) -> None:
    assert call("train", "missing.py") == (2, "", "error: The config missing.py does not exist.\n")


def test_what_is_not_installed(call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "DETECTOR_PACKAGES", ("mmdet", "no_such_package"))
    errors = "no_such_package is not installed: the commands need more than the losses, "
    assert call("predict") == (2, "", f'error: {errors}`pip install ".[detector]"`.\n')
