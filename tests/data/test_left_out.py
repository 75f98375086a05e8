"""Annotations of a user's own data that are not read as they stand: refused or told by name, never left out unsaid."""

from pathlib import Path

import pytest

from brs_detr.data.coco_file import read_annotations
from brs_detr.data.splits import find_splits
from brs_detr.errors import InputError
from tests.data import own
from tests.data.test_awkward_layouts import assert_read

BROKEN = {
    "[1, 2]": r"train\.json is not in COCO format: it has no list of images, so correct or remove it",
    '{"images": [], "annotations": []}': r"train\.json is not in COCO format: it has no list of categories",
    '{"images": [{"id": 1': r"train\.json is not JSON \(.*\): write it anew, or remove it",
}


@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize(("text", "sentence"), BROKEN.items(), ids=["list", "captions", "truncated"])
def test_validation_data_are_not_trained_on_in_place_of_a_broken_file(
    digits: Path, tmp_path: Path, text: str, sentence: str, share: float | None
) -> None:
    own.one_image_folder(digits, tmp_path)
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        find_splits(tmp_path, share)


def test_a_part_of_a_split_that_is_cut_short(digits: Path, tmp_path: Path) -> None:
    own.roboflow(digits, tmp_path)
    (tmp_path / "train" / "more.json").write_text('{"images": [')
    with pytest.raises(InputError, match=r"train/more\.json is not JSON"):
        find_splits(tmp_path)


def test_a_file_of_validation_beside_one_to_train_on_of_another_format(digits: Path, tmp_path: Path) -> None:
    own.one_image_folder(digits, tmp_path)
    (tmp_path / "train.json").unlink()
    find_splits(tmp_path, 0.5)  # alone, it may have any name
    (tmp_path / "train.csv").write_text("filename,class,xmin,ymin,xmax,ymax\n")
    with pytest.raises(InputError, match=r"a val split \(.*val\.json\), but none of that format to train on"):
        find_splits(tmp_path, 0.5)


def test_a_folder_of_nothing_but_a_list(digits: Path, tmp_path: Path) -> None:
    own.copy_images(digits, "train", tmp_path)
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "train.json").write_text("[]")
    with pytest.raises(InputError, match=r"another kind\. The annotation file .*train\.json is not in COCO format"):
        find_splits(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_other_encodings_are_read(digits: Path, tmp_path: Path, encoding: str) -> None:
    for layout in (own.one_image_folder, own.labelme):
        layout(digits, tmp_path / layout.__name__)
        for path in (tmp_path / layout.__name__).rglob("*.json"):
            path.write_bytes(path.read_text().encode(encoding))
        assert_read(digits, tmp_path / layout.__name__)
    _, (remark,) = read_annotations(tmp_path / "one_image_folder" / "train.json")
    assert remark == f"it is encoded as {encoding}, read here as plain utf-8 is"
