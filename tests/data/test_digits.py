"""The embedded data set: deterministic, whole or absent, with tight boxes and disjoint scans."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.random import RandomState
from pycocotools.coco import COCO

from brs_detr.data import digits as module
from brs_detr.data import synthesis
from brs_detr.data.digits import CLASSES, Parameters, build
from brs_detr.errors import InputError

SMALL = Parameters(train=8, val=4, test=2, size=64)
VERSION_1_MEAN, VERSION_1_TRAIN = 127.793, 3841629437  # of SMALL: brightness, and checksum of the annotations


def test_files_agree_with_pycocotools(digits: Path) -> None:
    for split, count in (("train", 8), ("val", 4), ("test", 2)):
        coco = COCO(digits / "annotations" / f"{split}.json")
        assert len(coco.imgs) == count
        assert tuple(c["name"] for c in coco.loadCats(coco.getCatIds())) == CLASSES
        for image in coco.imgs.values():
            assert cv2.imread(str(digits / split / image["file_name"])).shape == (64, 64, 3)
        for annotation in coco.anns.values():
            x, y, width, height = annotation["bbox"]
            assert min(x, y) >= 0
            assert max(x + width, y + height) <= 64
            assert annotation["area"] == width * height > 0
            rows, columns = np.nonzero(coco.annToMask(annotation))
            assert (columns.min(), rows.min()) == (x, y)
            assert (columns.max() + 1, rows.max() + 1) == (x + width, y + height)


def test_a_seed_is_a_data_set(digits: Path, tmp_path: Path) -> None:
    build(tmp_path / "same", SMALL)
    build(tmp_path / "other", Parameters(train=8, val=4, test=2, size=64, seed=1))
    for file in ("train/000001.png", "annotations/train.json"):
        content = (digits / file).read_bytes()
        assert (tmp_path / "same" / file).read_bytes() == content
        assert (tmp_path / "other" / file).read_bytes() != content


def test_the_default_seed_stays_what_it_is() -> None:
    """Numbers published for the data set hold as long as its images do: a change needs another VERSION."""
    random = RandomState(0)
    image, digits = synthesis.draw_image(synthesis.load_scans(), synthesis.load_photographs(), 96, random)
    assert [(digit.label, digit.box) for digit in digits] == [
        (8, (21, 50, 15, 33)),
        (8, (49, 29, 13, 24)),
        (3, (69, 54, 21, 33)),
        (9, (9, 4, 20, 30)),
    ]
    assert random.randint(2**31) == 1877840567
    assert image.mean() == pytest.approx(129.583, abs=0.1)  # JPEG decoders may round differently


def test_boxes_are_tight() -> None:
    """Where the box ends, the image has not been touched; along each side of it, it has."""
    scans, photographs = synthesis.load_scans(), synthesis.load_photographs()
    for seed in range(30):
        background = synthesis.random_crop(photographs, 96, RandomState(seed))
        image, digits = synthesis.draw_image(scans, photographs, 96, RandomState(seed))
        changed = np.any(image != background, axis=2)
        outside = changed.copy()
        for digit in digits:
            x, y, width, height = digit.box
            inside = changed[y : y + height, x : x + width]
            assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
            outside[y : y + height, x : x + width] = False
        assert not outside.any()


def test_silhouettes_are_what_was_drawn() -> None:
    """A silhouette is where ink covers the photograph; what was drawn outside it is the faint rim of the strokes."""
    scans, photographs = synthesis.load_scans(), synthesis.load_photographs()
    for seed in range(30):
        background = synthesis.random_crop(photographs, 96, RandomState(seed)).astype(int)
        image, digits = synthesis.draw_image(scans, photographs, 96, RandomState(seed))
        change = np.abs(image - background).max(axis=2)
        masks = [digit.mask(96).astype(bool) for digit in digits]
        assert all(change[mask].min() > 0 for mask in masks)
        if masks:
            inside = np.logical_or.reduce(masks)
            assert sum(map(np.sum, masks)) == inside.sum()
            assert change[inside].mean() > 4 * change[~inside].mean()


def test_images_are_those_of_version_1(tmp_path: Path) -> None:
    """Silhouettes came with version 2; pixels, boxes and areas did not change."""
    build(tmp_path / "digits", SMALL)
    pixels = [cv2.imread(str(path)) for path in sorted(tmp_path.glob("digits/*/*.png"))]
    assert np.mean([image.mean() for image in pixels]) == pytest.approx(VERSION_1_MEAN, abs=0.1)
    content = json.loads((tmp_path / "digits" / "annotations" / "train.json").read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    assert zlib.crc32(json.dumps(content).encode()) == VERSION_1_TRAIN


def test_scans_are_shared_out_once() -> None:
    scans = synthesis.load_scans()
    marked = synthesis.Scans(np.arange(len(scans.labels)), scans.labels)
    shares = synthesis.split_scans(marked, (0.7, 0.2, 0.1), RandomState(0))
    together = np.concatenate([share.darkness for share in shares])
    assert sorted(together) == list(range(len(scans.labels)))
    assert all(set(share.labels) == set(range(10)) for share in shares)


def test_content_varies() -> None:
    scans, photographs, random = synthesis.load_scans(), synthesis.load_photographs(), RandomState(0)
    counts = [len(synthesis.draw_image(scans, photographs, 64, random)[1]) for _ in range(150)]
    assert 1 <= counts.count(0) <= 15
    assert max(counts) >= 5


def test_a_complete_set_is_reused_and_another_refused(digits: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in digits.rglob("*")}
    assert not build(digits, SMALL)
    with pytest.raises(InputError, match=r"digits holds other data already.*--out"):
        build(digits, Parameters(train=9, val=4, test=2, size=64))
    assert {path: path.stat().st_mtime_ns for path in digits.rglob("*")} == before
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="holds other data"):
        build(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture
def older(digits: Path, tmp_path: Path) -> Path:
    """The data set as version 1 wrote it."""
    folder = Path(shutil.copytree(digits, tmp_path / "digits"))
    (folder / "parameters.json").write_text(json.dumps(asdict(replace(SMALL, version=1))))
    (folder / "annotations" / "train.json").write_text("{}")
    return folder


def test_an_older_version_is_written_anew(digits: Path, older: Path) -> None:
    assert build(older, SMALL)
    assert not build(older, SMALL)
    assert [path.name for path in older.parent.iterdir()] == ["digits"]
    for path in digits.rglob("*.*"):
        assert (older / path.relative_to(digits)).read_bytes() == path.read_bytes()


def test_an_older_version_with_other_parameters_or_files_is_refused(older: Path) -> None:
    with pytest.raises(InputError, match="holds other data"):
        build(older, replace(SMALL, seed=1))
    (older / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="holds other data"):
        build(older, SMALL)
    assert (older / "annotations" / "train.json").read_text() == "{}"


def test_an_older_version_stays_until_the_new_one_is_whole(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module.synthesis, "draw_image", fail)
    with pytest.raises(OSError, match="disk full"):
        build(older, SMALL)
    assert json.loads((older / "parameters.json").read_text())["version"] == 1
    assert [path.name for path in older.parent.iterdir()] == ["digits"]


def test_a_failing_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module.synthesis, "draw_image", fail)
    with pytest.raises(OSError, match="disk full"):
        build(tmp_path / "digits", SMALL)
    assert not list(tmp_path.iterdir())


def test_a_killed_build_is_no_data_set(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "brs_detr.data.digits", "--out", "digits", "--train", "5000"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".digits-*/new/train/*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "digits").exists()
    assert build(tmp_path / "digits", SMALL)
    assert json.loads((tmp_path / "digits" / "parameters.json").read_text())["train"] == 8


@pytest.mark.parametrize("wrong", [{"train": 0}, {"size": 8}])
def test_senseless_parameters(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least one image, of at least 32 pixels"):
        build(tmp_path / "digits", Parameters(**wrong))
