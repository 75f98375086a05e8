"""Every program that takes a checkpoint ends with one sentence and status 2 where the file is made to do harm."""

from pathlib import Path

import pytest

from brs_detr import command_line
from tests.scripts.processes import write_config
from tests.weights.crafted import ARRAY, archive, call, tensor

FILES = {
    "objects from bytes": {"state_dict": {"weight": call(ARRAY, (1,), "O8", b"A" * 8)}},
    "stride 0": {"state_dict": {"weight": tensor((10**9,), (0,))}},
}
PROGRAMS = {
    "resume": ("train", "{config}", "--work-dir", "work", "--resume", "{file}"),
    "load-from": ("train", "{config}", "--work-dir", "work", "--load-from", "{file}"),
    "test": ("test", "{config}", "{file}", "--work-dir", "work"),
    "time-loss": ("time-loss", "{config}", "--source", "{file}"),
    "convert": ("convert", "{file}", "ours.pth", "--config", "{config}"),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("content", FILES)
def test_one_sentence(
    tmp_path: Path,
    digits: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
    content: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    file, config = archive(tmp_path / "evil.pth", FILES[content]), write_config(tmp_path, digits)
    command, *arguments = (part.format(config=config, file=file) for part in PROGRAMS[program])
    with pytest.raises(SystemExit) as caught:
        command_line.run(command, arguments)
    assert caught.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1
    assert str(file) in sentence
    assert {path.name for path in tmp_path.iterdir()} == {"evil.pth", "tiny.py"}
