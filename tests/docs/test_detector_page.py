"""The page and the notebook about `Detector` run as they stand."""

import json
import re
import shutil
from pathlib import Path

import cv2
import pytest

from tests.reference import ROOT
from tests.scripts.processes import write_config

PAGE = ROOT / "docs" / "detector.md"
NOTEBOOK = ROOT / "docs" / "detector.ipynb"
DEMO = ROOT / "checkpoints" / "demo" / "brs-detr_quickstart_digits.pth"


@pytest.fixture
def prepared(digits: Path, tmp_path: Path) -> Path:
    """A folder with all files that the page names."""
    work = tmp_path / "work_dirs" / "mine"
    work.mkdir(parents=True)
    write_config(work, digits, ROOT / "configs" / "brs_detr" / "brs-detr_quickstart_digits.py")
    shutil.copy(DEMO, work / "epoch_1.pth")
    shutil.copytree(digits / "test", tmp_path / "images")
    pixels = cv2.imread(str(digits / "test" / "000001.png"))
    cv2.imwrite(str(tmp_path / "image.jpg"), pixels)
    writer = cv2.VideoWriter(str(tmp_path / "video.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, (64, 64))
    for _ in range(3):
        writer.write(pixels)
    writer.release()
    return tmp_path


def test_the_page(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert cv2.imread(str(prepared / "picture.png")) is not None
    assert names["frame"].shape == (64, 64, 3)
    assert len(names["pair"]) == 2


def test_the_notebook() -> None:
    nbformat = pytest.importorskip("nbformat", reason="tests/requirements.txt is not installed")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not [text for text in said if "ipywidgets" not in text]  # which tqdm asks for when it is imported
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    (counts,) = re.findall(r"^\[(\d+(?:, \d+){5})\]$", "\n".join(plain_results(outputs)), re.MULTILINE)
    assert len(set(counts.split(", "))) == 1  # every form of an image gives the same


def plain_results(outputs: list) -> list[str]:
    return [output["data"]["text/plain"] for output in outputs if output.output_type == "execute_result"]


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
