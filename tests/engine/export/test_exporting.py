"""The command, as users run it: what it writes, what it refuses, and the example that runs without torch."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from mmdet.apis import inference_detector
from mmengine.config import Config
from mmengine.structures import InstanceData

from brs_detr.data.calibration import KEY, Calibration
from brs_detr.data.images import read_image
from brs_detr.engine.export import exporting
from brs_detr.engine.export.comparing import difference
from brs_detr.engine.export.preprocessing import preprocessing_of
from brs_detr.engine.inference.loading import load_model
from brs_detr.errors import InputError
from tests.engine.export.models import BRS_DETR, FASTER, built, config_of
from tests.scripts.processes import ROOT, environment

Program = Callable[..., tuple[int, str, str]]
CALIBRATION = Calibration((0.0, 0.02, 0.2, 1.0), (0.0, 0.3, 0.7, 1.0), 0.32)
WITHOUT_TORCH = 'raise ImportError("this machine has no torch")\n'


def work_dir(folder: Path, config: Config) -> Path:
    """A work directory with a calibrated checkpoint of random weights."""
    folder.mkdir(exist_ok=True)
    config.dump(folder / "config.py")
    state = {"state_dict": built(config).state_dict(), KEY: CALIBRATION.as_dict()}
    torch.save(state, folder / "best_coco_bbox_mAP_epoch_1.pth")
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """With its test images."""
    config = config_of(FASTER, test_dataloader__dataset__data_root=str(digits))
    return work_dir(tmp_path_factory.mktemp("work"), config)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture 60 pixels wide and 41 high, which fills but a part of any input."""
    path = tmp_path_factory.mktemp("image") / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (41, 60, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.GaussianBlur(pixels, (5, 5), 0))
    return path


def by_the_example(file: Path, image: Path, folder: Path) -> InstanceData:
    """What docs/onnx_example.py prints where torch cannot be imported."""
    (folder / "torch.py").write_text(WITHOUT_TORCH)
    variables = environment() | {"PYTHONPATH": str(folder)}
    command = [sys.executable, str(ROOT / "docs" / "onnx_example.py"), str(file), str(image)]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    return InstanceData(
        bboxes=torch.tensor([line["box"] for line in lines]),
        scores=torch.tensor([line["score"] for line in lines]),
        labels=torch.tensor([int(line["class"]) for line in lines]),
    )


@pytest.mark.parametrize(
    ("path", "width", "height", "batch"), [(FASTER, 160, 128, "dynamic"), (BRS_DETR, 160, 109, "")]
)
def test_from_a_work_directory_to_boxes_in_an_image(
    path: str, width: int, height: int, batch: str, image: Path, tmp_path: Path, program: Program
) -> None:
    """Boxes, scores and classes are those of the model for the same file, which it pads to this size."""
    work, out = work_dir(tmp_path / "work", config_of(path)), tmp_path / "new" / "detector.onnx"
    options = ("--dynamic-batch",) if batch else ()
    size = "--size", f"{width}x{height}"
    status, output, errors = program("export", work, "--onnx", out, *size, *options)
    assert (status, errors) == (0, "")
    assert output.startswith(f"{out} written, for images of {width}x{height} pixels. Beside torch, its boxes differ by")
    remark = "\nPortrait images get smaller in it than predict makes them: export a file for them with --size "
    assert output.endswith(f"{remark}{height}x{width}.\n")
    said = onnxruntime.InferenceSession(out).get_modelmeta().custom_metadata_map
    assert json.loads(said["threshold"]) == 0.32
    assert json.loads(said["classes"]) == list("0123456789")
    assert json.loads(said["preprocessing"]) == dict(
        width=width, height=height, keep_ratio=True, channels="RGB", pad_value=0.0,
        mean=pytest.approx([123.675, 116.28, 103.53]), std=pytest.approx([58.395, 57.12, 57.375]),
    )  # fmt: skip
    found = by_the_example(out, image, tmp_path)
    model = load_model(config_of(path), str(next(work.glob("best*"))), "cpu")
    model.cfg = config_of(path)
    wanted = inference_detector(model, cv2.imread(str(image))).pred_instances
    wanted.scores = CALIBRATION(wanted.scores)
    wanted = wanted[wanted.scores >= CALIBRATION.threshold]
    assert 5 < len(wanted) == len(found)
    apart = difference(wanted, found)
    assert apart.lacking == 0
    assert apart.boxes < 0.01
    status, _, errors = program("export", work, "--onnx", out)
    assert (status, errors) == (2, f"error: {out} exists: choose another --onnx, or replace it with --overwrite.\n")


def test_a_file_that_detects_something_else_is_not_left(
    work: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_of_other_weights(graph: Any, *args: Any, **kwargs: Any) -> None:
        write(graph, *args, **kwargs)
        with torch.no_grad():
            torch.nn.init.normal_(next(graph.parameters()))

    write = exporting.write_graph
    monkeypatch.setattr(exporting, "write_graph", write_of_other_weights)
    status, _, errors = program("export", work, "--onnx", tmp_path / "out.onnx", "--size", "64")
    assert status == 2
    assert "in onnxruntime are not those of torch" in errors
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    "is no file of ONNX": (("--onnx", "{out}.pt"), "out.pt must end in .onnx."),
    "below a file": (("--onnx", "{work}/config.py/out.onnx"), "is a file: choose another place."),
    "odd": (("--onnx", "{out}.onnx", "--size", "100x64"), "sides that are multiples of 32, such as 128x64."),
    "no number": (("--onnx", "{out}.onnx", "--size", "6-4"), "--size 6-4: give 32 to 8192 pixels"),
    "tiny": (("--onnx", "{out}.onnx", "--size", "8"), "--size 8: give 32 to 8192 pixels"),
    "huge": (("--onnx", "{out}.onnx", "--size", "99999999999"), "--size 99999999999: give 32 to 8192 pixels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_ends_with_a_sentence(case: str, work: Path, tmp_path: Path, program: Program) -> None:
    arguments, sentence = REFUSED[case]
    given = [argument.format(out=tmp_path / "out", work=work) for argument in arguments]
    status, _, errors = program("export", work, *given)
    assert status == 2
    assert sentence in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is to be installed is what the package asks for, which is on no index."""
    extra = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("export = "))
    assert list(exporting.PACKAGES.values()) == ast.literal_eval(extra.removeprefix("export = "))
    monkeypatch.setattr(exporting, "PACKAGES", {"no_such_package": "no-such-package>=1,<2"})
    sentence = 'no_such_package is not installed: export needs it, `pip install "no-such-package>=1,<2"`.'
    with pytest.raises(InputError, match=re.escape(sentence)):
        exporting.check_given(tmp_path / "out.onnx", overwrite=False)


def test_the_image_to_compare_on_is_one_that_can_be_read(work: Path, digits: Path, tmp_path: Path) -> None:
    config = Config.fromfile(work / "config.py")
    folder = tmp_path / "images"
    shutil.copytree(digits / "val", folder)
    first, second, *_ = sorted(folder.iterdir())
    config.test_dataloader.dataset.update(data_root=str(tmp_path), data_prefix=dict(img="images/"))
    assert np.array_equal(next(exporting.readable_images(config)), read_image(first))
    config.test_dataloader.dataset.data_prefix = dict()  # images lie deeper than that
    assert np.array_equal(next(exporting.readable_images(config)), read_image(first))
    first.write_bytes(first.read_bytes()[:100])
    assert np.array_equal(next(exporting.readable_images(config)), read_image(second))
    for path in folder.iterdir():
        path.write_text("")
    assert list(exporting.readable_images(config)) == []


def test_a_work_directory_without_checkpoint(tmp_path: Path, program: Program) -> None:
    config_of(BRS_DETR).dump(tmp_path / "config.py")
    status, _, errors = program("export", tmp_path, "--onnx", tmp_path / "out.onnx")
    assert status == 2
    assert "holds no checkpoint" in errors


def test_pipelines_that_do_more_than_resizing() -> None:
    config = config_of(BRS_DETR)
    preprocessor = built(config).data_preprocessor
    assert preprocessing_of(config, preprocessor, None).width == 160
    config.test_dataloader.dataset.pipeline.insert(2, dict(type="Pad", size_divisor=32))
    with pytest.raises(InputError, match="has Pad: export takes one that resizes"):
        preprocessing_of(config, preprocessor, None)
