"""The study of long tails: what its images hold, and a small training that is measured by how often classes occur."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.random import RandomState

from benchmarks.long_tail import data, study
from benchmarks.long_tail.data import CLASSES, GROUPS, SPLITS, Parameters, build
from benchmarks.long_tail.study import LOSSES, RANKED_BY_CLASS, Run
from brs_detr.data import synthesis
from brs_detr.errors import InputError

SMALL = Parameters(train=40, val=4, test=8, size=96)


def labels(folder: Path, split: str) -> np.ndarray:
    content = json.loads((folder / "annotations" / f"{split}.json").read_text())
    return np.array([each["category_id"] - 1 for each in content["annotations"]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long_tail") / "data"
    build(folder, SMALL)
    return folder


def test_frequencies_are_zipfs() -> None:
    shares = np.sort(data.frequencies(Parameters()))[::-1]
    assert shares.sum() == pytest.approx(1)
    assert shares[0] / shares[[1, 9, 99]] == pytest.approx([2, 10, 100])


def test_training_is_unbalanced_and_the_test_is_not(folder: Path) -> None:
    share = np.bincount(labels(folder, "train"), minlength=100) / len(labels(folder, "train"))
    expected = data.frequencies(SMALL)
    common = expected.argmax()
    assert share[common] == pytest.approx(expected[common], abs=0.1)
    assert np.bincount(labels(folder, "test")).max() <= 4  # of about 20 objects
    members = data.groups(folder)
    assert sorted(name for names in members.values() for name in names) == list(CLASSES)
    counts = np.bincount(labels(folder, "train"), minlength=100)
    for group, (least, most) in GROUPS.items():
        assert all(least <= counts[int(name)] <= (most or np.inf) for name in members[group])


def test_boxes_are_those_of_the_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a black photograph all that is bright is ink."""
    monkeypatch.setattr(synthesis, "contrasting_colour", lambda *_: np.array([255, 255, 255]))
    photographs = [np.zeros((60, 80, 3), np.uint8)]
    random, scans = RandomState(0), synthesis.load_scans()
    for _ in range(5):
        image, numbers = data.draw_image(scans, photographs, 96, np.full(100, 0.01), random)
        covered = np.zeros((96, 96), bool)
        for number in numbers:
            x, y, width, height = number.box
            covered[y : y + height, x : x + width] = True
            assert 0.2 < width / height / 2 < 1.2
        assert numbers
        assert not image[~covered].any()


def test_a_folder_is_built_once_and_never_overwritten(folder: Path) -> None:
    before = (folder / "annotations" / "train.json").stat().st_mtime_ns
    build(folder, SMALL)
    assert (folder / "annotations" / "train.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="holds other data"):
        build(folder, Parameters())
    assert cv2.imread(str(folder / "test" / "000001.png")).shape == (96, 96, 3)


def test_groups_are_means_of_their_classes() -> None:
    classes = {"00": {"bbox_mAP": 0.2}, "01": {"bbox_mAP": 0.4}, "02": {"bbox_mAP": -1.0}}
    found = study.by_group(classes, {"often": ["00", "01", "02"], "rarely": ["02", "99"]})
    assert found["often"] == pytest.approx(0.3)
    assert np.isnan(found["rarely"])


def test_a_training_is_measured_by_group(folder: Path, tmp_path: Path) -> None:
    assert set(LOSSES) == {"focal", "Rank & Sort", RANKED_BY_CLASS}
    run = Run(RANKED_BY_CLASS, 1e-3, 0, 1)
    result = study.train(run, folder, tmp_path / "work")
    assert list(result) == ["AP", *GROUPS, "val AP", "seconds"]
    study.append(tmp_path / "long_tail.csv", run, result)
    assert study.finished(tmp_path / "long_tail.csv") == {run}
    origin, _, header, _, row = study.table(tmp_path / "long_tail.csv", folder).splitlines()
    assert origin.startswith("By `python -m benchmarks.long_tail`; 1 results of ")
    assert "up to 10 (" in header
    assert row.replace(" ", "").startswith("|Rank&Sortbyclass|0.001|1|1|0.0")
    assert set(SPLITS) == {path.name for path in folder.iterdir() if path.is_dir()} - {"annotations"}
