"""YOLO's data sets: their description, and what is malformed in it or in the labels."""

from pathlib import Path

import pytest

from brs_detr.data.splits import find_splits
from brs_detr.errors import InputError
from tests.data import own
from tests.data.test_splits import all_there


def yolo_with(digits: Path, folder: Path, description: str, line: str | None = None) -> Path:
    own.yolo(digits, folder)
    (folder / "data.yaml").write_text(description)
    if line:
        (folder / "labels" / "train" / "000001.txt").write_text(f"0 .5 .5 .1 .1\n{line}\n")
    return folder


NAMES = "names: [" + ", ".join(f"n{number}" for number in range(10)) + "]\n"


def test_yolo_with_lists_of_files_and_roboflow_paths(digits: Path, tmp_path: Path) -> None:
    description = f"train: ../images/train\nval: val.txt\ntest:\n{NAMES}"
    data = yolo_with(digits, tmp_path, description)
    (data / "val.txt").write_text("./images/val/000002.png\nimages/val/000001.png\n")
    (data / "labels" / "val" / "000002.txt").unlink()
    splits, _ = find_splits(data)
    assert [len(split.content["images"]) for split in splits.values()] == [8, 2]
    assert all_there(splits)
    assert "val: 1 images have no file of labels, and count as background." in splits["val"].remarks
    assert "2 files of labels have no image in any split" in splits["train"].remarks[-1]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("12 .5 .5 .1 .1", r"Line 2 of .*000001\.txt is malformed \(class 12, but there are 10 from 0\)"),
        ("1 .5 .5 .1", r"neither a box nor a polygon"),
        ("1 50 50 10 10", r"coordinates that are no parts of the image's size"),
        ("cat .5 .5 .1 .1", r"Line 2 of .*could not convert"),
    ],
)
def test_yolo_lines_that_are_malformed(digits: Path, tmp_path: Path, line: str, sentence: str) -> None:
    data = yolo_with(digits, tmp_path, f"train: images/train\nval: images/val\n{NAMES}", line)
    with pytest.raises(InputError, match=sentence):
        find_splits(data)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        (f"train: images/nowhere\n{NAMES}", r"data\.yaml names images/nowhere, which does not exist"),
        ("train: images/train\nnames: {1: a, 2: b}\n", r"give a list of distinct names, or one a number from 0"),
        (f"train: labels\n{NAMES}", "as its train split, where no image is"),
        (
            "train: images/train\nnames:\n\t- a\n",
            r"data\.yaml is no YAML \(.*'\\t' that .*, line 3\): correct it",
        ),
        ("train: images/train\nnames: [a, b\nval: c\n", r"data\.yaml is no YAML \(.*, line 3\): correct it"),
        (f"train: images/train\nnc: 9\n{NAMES}", r"data\.yaml has 10 names, but nc is 9: correct the one that is"),
    ],
)
def test_yolo_descriptions_that_are_wrong(digits: Path, tmp_path: Path, description: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        find_splits(yolo_with(digits, tmp_path, description))


def test_yolo_names_are_what_is_written(digits: Path, tmp_path: Path) -> None:
    names = ["yes", "no", "3", "1.10", "null", "2020-01-01", "1e5", "n/a", "~", "0x1"]
    description = f"nc: 10\ntrain: images/train\nval: images/val\nnames: [{', '.join(names)}]\n"
    data = yolo_with(digits, tmp_path, description)
    (tmp_path / "unrelated.yml").write_text("a: [")
    assert find_splits(data)[1] == tuple(names)
    numbered = "".join(f"  {number}: {name}\n" for number, name in enumerate(names))
    (data / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{numbered}")
    assert find_splits(data)[1] == tuple(names)


def test_yolo_without_a_description(digits: Path, tmp_path: Path) -> None:
    own.yolo(digits, tmp_path)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("".join(f"n{number}\n" for number in range(10)))
    splits, classes = find_splits(tmp_path)
    assert [len(split.content["images"]) for split in splits.values()] == [8, 4]
    assert classes[3] == "n3"
