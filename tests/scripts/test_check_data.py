"""Data that lie, as users meet them: check-data, training, evaluation and prediction, each ending with a sentence."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from brs_detr import command_line
from tests.data.spoiling import edit
from tests.scripts.processes import write_config

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Call:
    """Runs `brs-detr` with arguments in this process: exit status, output, errors."""

    def called(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["brs-detr", *map(str, arguments)])
        status = 0
        try:
            command_line.main()
        except SystemExit as ended:
            status = ended.code
        output = capsys.readouterr()
        return status, output.out, output.err

    return called


@pytest.fixture
def data(digits: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits, tmp_path / "digits"))


@pytest.fixture
def config(data: Path, tmp_path: Path) -> Path:
    return write_config(tmp_path, data)


def without_crowds(content: dict) -> None:
    for annotation in content["annotations"]:
        del annotation["iscrowd"]


def test_a_clean_config(call: Call, config: Path) -> None:
    status, output, errors = call("check-data", config, "--images")
    assert (status, errors) == (0, "")
    assert "train" in output
    assert "val, test" in output
    assert all(count in output for count in ("8", "4", "10", "64"))


def test_a_config_that_is_mended(call: Call, config: Path, data: Path, tmp_path: Path) -> None:
    edit(data, without_crowds)
    before = (data / "annotations" / "train.json").read_bytes()
    status, output, errors = call("check-data", config)
    assert (status, errors) == (1, "")
    assert "train: " in output
    assert "without 'iscrowd' count as single objects (mended whenever it is read" in output
    status, output, _ = call("check-data", config, "--fix", tmp_path / "mended")
    assert status == 0
    assert f"{tmp_path}/mended/train.json written" in output
    assert [path.name for path in (tmp_path / "mended").iterdir()] == ["train.json"]
    assert call("check-data", tmp_path / "mended" / "train.json", data / "train")[0] == 0
    assert (data / "annotations" / "train.json").read_bytes() == before
    status, _, errors = call("check-data", config, "--fix", tmp_path / "mended")
    assert status == 2
    assert "train.json exists already" in errors


def test_a_refused_split_leaves_the_others_their_rows(call: Call, config: Path, data: Path) -> None:
    edit(data, lambda content: content["annotations"][3].update(bbox=[1, 2, float("nan"), 4]), "val")
    status, output, errors = call("check-data", config)
    assert status == 2
    assert "train" in output
    assert errors == (
        f"error: val, test: Entry 3 of the annotations in {data}/annotations/val.json has bbox [1, 2, nan, 4], not "
        "four finite numbers x, y, width, height: correct or remove the entry.\n"
    )


def test_one_file(call: Call, data: Path, tmp_path: Path) -> None:
    file = data / "annotations" / "train.json"
    assert call("check-data", file)[0] == 0
    assert call("check-data", file, data / "train", "--images")[0] == 0
    edit(data, without_crowds)
    assert call("check-data", file, "--fix", tmp_path / "mended.json")[0] == 0
    assert call("check-data", tmp_path / "mended.json")[0] == 0
    assert call("check-data", file, "--fix", file)[0] == 2


def test_nothing_to_mend(call: Call, config: Path, data: Path, tmp_path: Path) -> None:
    file = data / "annotations" / "train.json"
    status, output, _ = call("check-data", file, "--fix", tmp_path / "mended.json")
    assert status == 0
    assert f"train: nothing to mend; use {file} as it is, no copy is written." in output
    assert not (tmp_path / "mended.json").exists()
    edit(data, without_crowds)
    status, output, _ = call("check-data", config, "--fix", tmp_path / "mended")
    assert status == 0
    assert f"val, test: nothing to mend; use {data}/annotations/val.json as it is" in output
    assert [path.name for path in (tmp_path / "mended").iterdir()] == ["train.json"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.json"], "missing.json does not exist"),
        (["missing.py"], "The config missing.py does not exist"),
        (["missing.csv"], "The data folder missing.csv does not exist"),
        (["{data}/train"], "{data}/train has no layout that is known"),
        (["{file}", "--images"], "--images needs the folder of the images"),
        (["{file}", "nowhere"], "The image folder nowhere does not exist"),
        (
            ["{file}", "{data}/val"],
            "images in {file} are missing, the first is {data}/val/000005.png: give the folder that has",
        ),
        (["{config}", "{data}/train"], "A folder of images goes with a COCO file"),
    ],
)
def test_arguments_that_do_not_go_together(
    call: Call, config: Path, data: Path, arguments: list[str], sentence: str
) -> None:
    places = dict(file=data / "annotations/train.json", data=data, config=config)
    status, _, errors = call("check-data", *(argument.format(**places) for argument in arguments))
    assert status == 2
    assert sentence.format(**places) in errors
    assert errors.count("\n") == 1


def test_all_images_are_opened(call: Call, config: Path, data: Path) -> None:
    (data / "train" / "000002.png").write_text("<html>")
    status, _, errors = call("check-data", config, "--images")
    assert status == 2
    assert "1 images of" in errors
    assert f"The image {data}/train/000002.png cannot be read" in errors
    shutil.copy(data / "train" / "000001.png", data / "train" / "000002.png")
    edit(data, lambda content: content["images"][4].update(width=640))
    status, _, errors = call("check-data", config, "--images")
    assert status == 2
    assert "1 images have another size than" in errors
    assert "000005.png has 64 x 64 pixels instead of 640 x 64" in errors


REFUSED = [
    (lambda content: content["annotations"][1].update(id=True), "has id True, not an integer"),
    (lambda content: content["images"][1].update(id=content["images"][0]["id"]), "have the same id "),
    (lambda content: content["images"][1].update(width=0), "has width 0, not a positive integer"),
    (lambda content: [each.update(iscrowd=1) for each in content["annotations"]], "No box in"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_training_refuses(
    call: Call, config: Path, data: Path, tmp_path: Path, change: Callable, sentence: str
) -> None:
    for split in ("train", "val"):
        file = data / "annotations" / f"{split}.json"
        good = file.read_text()
        edit(data, change, split)
        status, _, errors = call("train", config, "--work-dir", tmp_path / "work")
        assert status == 2
        assert sentence in errors
        assert str(file) in errors
        assert errors.count("\n") == 1
        file.write_text(good)
    assert not (tmp_path / "work").exists()


def test_training_refuses_an_evaluator_of_another_file(call: Call, config: Path, data: Path, tmp_path: Path) -> None:
    other = f"val_evaluator.ann_file={data}/annotations/train.json"
    status, _, errors = call("train", config, "--work-dir", tmp_path / "work", "--cfg-options", other)
    assert status == 2
    assert "val_evaluator compares with" in errors


@pytest.fixture
def checkpoint(config: Path, tmp_path: Path) -> Path:
    """Of the config's model, untrained."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()  # until then some parameters are whatever the memory held
    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "model.pth")
    return tmp_path / "model.pth"


def test_evaluation_sees_what_is_mended(call: Call, config: Path, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    def spoil(content: dict) -> None:
        for number, annotation in enumerate(content["annotations"]):
            del annotation["iscrowd"], annotation["area"]
            annotation["id"] = number

    def score() -> dict:
        status, _, errors = call("test", config, checkpoint, "--work-dir", tmp_path / "work", "--out", tmp_path / "m")
        assert status == 0, errors
        return json.loads((tmp_path / "m").read_text())

    clean = score()
    edit(data, spoil, "val")
    assert score() == clean
    logged = "".join(path.read_text() for path in (tmp_path / "work").rglob("*.log"))
    assert "annotation id 0, to pycocotools 'no match', becomes" in logged
    edit(data, lambda content: content.update(annotations=[]), "val")
    status, _, errors = call("test", config, checkpoint, "--work-dir", tmp_path / "work")
    assert status == 2
    assert "has no annotations to evaluate against" in errors


def test_a_split_without_annotations(call: Call, config: Path, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    """As COCO's test-dev: the detections are written, and no metric is made up."""
    edit(data, lambda content: content.update(annotations=[]), "val")
    options = ["test_evaluator.format_only=True", f"test_evaluator.outfile_prefix={tmp_path}/found"]
    status, output, errors = call(
        "test",
        config,
        checkpoint,
        "--work-dir",
        tmp_path,
        "--out",
        tmp_path / "m",
        "--per-class",
        "--cfg-options",
        *options,
    )
    assert status == 0, errors
    assert json.loads((tmp_path / "m").read_text()) == {"per_class": {}}
    assert f"Detections are in {tmp_path}/found.bbox.json; by format_only there are no metrics." in output + errors
    assert f"{tmp_path}/m: no metrics" in output
    assert json.loads((tmp_path / "found.bbox.json").read_text())


def test_prediction_goes_on_after_a_broken_image(
    call: Call, config: Path, data: Path, checkpoint: Path, tmp_path: Path
) -> None:
    images = data / "train"
    (images / "000003.png").write_bytes(b"")
    (images / "000005.png").write_bytes((images / "000004.png").read_bytes()[:500])
    (images / "folder.jpg").mkdir()
    status, _, errors = call("predict", config, checkpoint, images, "--out", tmp_path / "out", "--score-thr", 0.5)
    assert status == 1
    assert errors.splitlines() == [
        f"error: 6 pictures and predictions.json written to {tmp_path}/out, but 2 images were left out:",
        f"The image {images}/000003.png cannot be read: it is damaged or not an image.",
        f"The image {images}/000005.png cannot be read: it is damaged or not an image.",
    ]
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 6
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    status, _, errors = call("predict", config, checkpoint, images / "000003.png", "--out", tmp_path / "none")
    assert status == 2
    assert not (tmp_path / "none").exists()
