"""Class names of a checkpoint beside the config's: another order is refused, other names are remarked."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from brs_detr import Detector
from brs_detr.engine import launch
from brs_detr.engine.calibrating import calibrate
from brs_detr.engine.class_order import classes_in, compare
from brs_detr.engine.export.exporting import export
from brs_detr.engine.setup.config import load_config
from brs_detr.engine.train_options import TrainOptions
from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint
from tests.engine.demo import DEMO

NAMES = "0123456789"
TURNED = NAMES[::-1]
REFUSED = r"{} has the classes of the config in another order, class 0 is '0' in the checkpoint and '9' in the config"
PLACES = [f"{split}_dataloader.dataset" for split in ("train", "val", "test")]


def turned(data: Path, folder: Path) -> dict[str, Any]:
    """Options for a copy of the data, and a config of it, whose classes are in the reverse order."""
    shutil.copytree(data, folder)
    for path in (folder / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        content["categories"].reverse()
        path.write_text(json.dumps(content))
    options: dict[str, Any] = {f"{place}.metainfo.classes": tuple(TURNED) for place in PLACES}
    options |= {f"{place}.data_root": f"{folder}/" for place in PLACES}
    return options | {f"{split}_evaluator.ann_file": f"{folder}/annotations/val.json" for split in ("val", "test")}


def test_names_are_found_where_releases_have_kept_them() -> None:
    names = ["cat", "dog"]
    for meta in ({"dataset_meta": {"classes": names}}, {"dataset_meta": {"CLASSES": names}}, {"CLASSES": names}):
        assert classes_in({"meta": meta}) == ("cat", "dog")
    odd: tuple[Any, ...] = (None, 1, "cat", [], {"CLASSES": "cat"}, {"CLASSES": [1]}, {"dataset_meta": names})
    assert [classes_in({"meta": each}) for each in odd] == [None] * len(odd)
    assert classes_in({}) is None


def test_only_the_same_names_in_another_order_are_refused(demo_config: Path) -> None:
    def remarks(*names: str, split: str = "test", kind: str = "CocoDataset") -> list[str]:
        config = load_config(str(demo_config), None, None)
        config[f"{split}_dataloader"].dataset.type = kind
        return compare(config, split, "a.pth", {"meta": {"CLASSES": names}})

    assert remarks(*NAMES) == remarks("cat", "dog") == []
    (said,) = remarks("null", *NAMES[1:])
    assert said == (
        "The checkpoint a.pth has other class names than the config, class 0 is 'null' in the checkpoint and '0' in "
        "the config: the config's are used."
    )
    with pytest.raises(InputError, match=r"a\.pth .* class 1 is '2' in the checkpoint and '1' in the config: list"):
        remarks("0", "2", "1", *NAMES[3:])
    nameless = load_config(str(demo_config), {"test_dataloader.dataset.metainfo": None}, None)
    nameless.test_dataloader.dataset.type = "BaseDetDataset"  # whose derived classes may have names of their own
    assert compare(nameless, "test", "a.pth", {"meta": {"CLASSES": tuple(TURNED)}}) == []


def test_whatever_names_detections_refuses_another_order(demo_config: Path, digits: Path, tmp_path: Path) -> None:
    options, out = turned(digits, tmp_path / "data"), str(tmp_path / "out.pth")
    detector = {"test_dataloader.dataset.metainfo.classes": tuple(TURNED)}
    config, demo = str(demo_config), str(DEMO)
    with pytest.raises(InputError, match=REFUSED.format(DEMO)):
        Detector(demo_config, DEMO, device="cpu", options=detector)
    with pytest.raises(InputError, match=REFUSED.format(DEMO)):
        launch.evaluate(config, demo, folder=str(tmp_path / "work"), options=options)
    with pytest.raises(InputError, match=REFUSED.format(DEMO)):
        calibrate(config, demo, folder=str(tmp_path / "work"), out=out, options=options)
    with pytest.raises(InputError, match=REFUSED.format(DEMO)):
        export(config, demo, tmp_path / "out.onnx", options=detector)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_renamed_classes_are_used_with_a_warning(
    demo_config: Path, digit_images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content = read_checkpoint(DEMO)
    content["meta"]["dataset_meta"]["classes"] = tuple(f"digit\n{name}" for name in NAMES)
    torch.save(content, tmp_path / "named.pth")
    detector = Detector(demo_config, tmp_path / "named.pth", device="cpu")
    assert "warning: The checkpoint" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert set(detector(digit_images[0]).names) <= set(NAMES)


@pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process
def test_a_training_is_not_continued_in_another_order(toy_config: Path, tmp_path: Path) -> None:
    """It may be the beginning of another one."""
    data, work = tmp_path / "data", str(tmp_path / "work")
    launch.train(str(toy_config), TrainOptions(folder=work, epochs=1))
    options = turned(toy_config.parent / "digits", data)
    last = tmp_path / "work" / "epoch_1.pth"
    with pytest.raises(InputError, match=REFUSED.format(last) + r".*, or start from its weights with --load-from\."):
        launch.train(str(toy_config), TrainOptions(folder=work, epochs=2, resume="auto", options=options))
    other = TrainOptions(folder=str(tmp_path / "other"), epochs=1, load_from=str(last), options=options)
    launch.train(str(toy_config), other)
    assert classes_in(read_checkpoint(tmp_path / "other" / "epoch_1.pth")) == tuple(TURNED)
