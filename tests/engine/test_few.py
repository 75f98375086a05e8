"""Few classes, images and detections: a training works, or ends with a sentence before it begins."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scripts.processes import ROOT

Program = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process

CONFIG = """
_base_ = {base!r}
data_root = {data!r}
data = dict(data_root=data_root, metainfo=dict(classes=("digit",)))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(**train_dataloader)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "/annotations/val.json")
test_evaluator = val_evaluator
model = {model!r}
default_hooks = dict(progress=None, curves=None, loss_time=None)
"""


@pytest.fixture
def one_class(digits: Path, tmp_path: Path) -> Path:
    """Two images of each split, all their digits of one class."""
    data = Path(shutil.copytree(digits, tmp_path / "data"))
    for path in (data / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        content["images"] = content["images"][:2]
        kept = {image["id"] for image in content["images"]}
        content["categories"] = [{"id": 1, "name": "digit"}]
        content["annotations"] = [a | {"category_id": 1} for a in content["annotations"] if a["image_id"] in kept]
        path.write_text(json.dumps(content))
    return data


def one_class_config(base: str, data: Path, **model: object) -> Path:
    heads = {"bbox_head": {"num_classes": 1}}
    if base.startswith(("brs_detr", "co_dino")):
        heads |= {"atss_head": {"num_classes": 1}, "roi_head": dict(heads)}
    path = data.parent / "one_class.py"
    content = CONFIG.format(base=str(ROOT / "configs" / base), data=str(data), model=heads | model)
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("base", "model"),
    [
        ("brs_detr/brs-detr_tiny_digits.py", {}),
        ("co_dino/co-dino_tiny_digits.py", {}),
        ("ddq/ddq-detr-4scale_tiny_digits.py", {"num_queries": 20}),
        ("atss/atss_tiny_digits.py", {"test_cfg": {"nms_pre": 10**6, "max_per_img": 10**6}}),
    ],
)
def test_two_images_of_one_class(program: Program, one_class: Path, tmp_path: Path, base: str, model: dict) -> None:
    config = one_class_config(base, one_class, **model)
    status, _, errors = program("train", config, "--work-dir", tmp_path / "work", "--epochs", 1)
    assert status == 0, errors
    assert json.loads((tmp_path / "work" / "training.json").read_text())["epochs"] == 1
    status, _, errors = program(
        "predict", config, tmp_path / "work" / "epoch_1.pth", one_class / "test", "--out", tmp_path / "out"
    )
    assert status == 0, errors


def test_a_batch_that_is_never_full(program: Program, one_class: Path, tmp_path: Path) -> None:
    config = one_class_config("atss/atss_tiny_digits.py", one_class)
    options = "train_dataloader.drop_last=True", "train_dataloader.batch_size=3"
    status, _, errors = program("train", config, "--work-dir", tmp_path / "work", "--cfg-options", *options)
    assert status == 2
    sentence = "error: train_dataloader gives no batch: its 2 images do not fill one of 3, and drop_last"
    assert errors.splitlines()[-1].startswith(sentence)
    assert not list((tmp_path / "work").glob("*.pth"))
