"""Images that are gone: the split stays where it is, and the sentence names the file; no other stands in for it."""

import json
import shutil
from pathlib import Path

import pytest

from brs_detr.data.splits import find_splits
from brs_detr.errors import InputError
from tests.data import own


def places(data: Path, split: str) -> tuple[Path, set[str]]:
    """The folder of a split's images, and the files named from there on that are gone."""
    found = find_splits(data)[0][split]
    return found.images.relative_to(data), {str(path.relative_to(data)) for path in found.files if not path.is_file()}


@pytest.mark.parametrize("lost", [1, 3])
def test_images_of_another_split_do_not_stand_in(data: Path, lost: int) -> None:
    """The training images have the same names, and more of them."""
    names = [f"val/{number:06}.png" for number in range(1, lost + 1)]
    for name in names:
        (data / name).unlink()
    assert places(data, "val") == (Path("val"), {*names})


@pytest.mark.parametrize("lost", [1, 5])
@pytest.mark.parametrize("masks", ["masks", "train_masks"])
def test_masks_do_not_stand_in(digits: Path, tmp_path: Path, masks: str, lost: int) -> None:
    own.one_image_folder(digits, tmp_path)
    shutil.copytree(tmp_path / "images", tmp_path / masks)
    names = [f"images/train_{number:06}.png" for number in range(1, lost + 1)]
    for name in names:
        (tmp_path / name).unlink()
    assert places(tmp_path, "train") == (Path("images"), {*names})


def test_an_image_elsewhere_is_not_found_in_another_split(digits: Path, tmp_path: Path) -> None:
    own.elsewhere(digits, tmp_path)
    (tmp_path / "images" / "val" / "day0" / "000001.png").unlink()
    splits, _ = find_splits(tmp_path)
    assert [len([path for path in split.files if path.is_file()]) for split in splits.values()] == [8, 3]


def test_images_of_all_splits_in_folders_of_one_are_found(digits: Path, tmp_path: Path) -> None:
    own.elsewhere(digits, tmp_path)
    (tmp_path / "images").rename(tmp_path / "train")
    (tmp_path / "train" / "val").rename(tmp_path / "train" / "later")
    for path in (tmp_path / "train" / "later").rglob("*.png"):
        path.rename(path.with_name(f"later_{path.name}"))
    content = json.loads((tmp_path / "val.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"later_{image['file_name'][-10:]}"
    own.write(tmp_path / "val.json", content)
    assert all(path.is_file() for path in find_splits(tmp_path)[0]["val"].files)


@pytest.mark.parametrize("name", ["0002.jpg", "old.jpg"])
def test_a_segmentation_of_voc_does_not_stand_in(digits: Path, tmp_path: Path, name: str) -> None:
    for number in (1, 2, 3):
        for folder, suffix in {"JPEGImages": "jpg", "SegmentationClass": "png"}.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            shutil.copy(digits / "train" / f"00000{number}.png", tmp_path / folder / f"000{number}.{suffix}")
        xml = own.voc_xml(name if number == 2 else f"000{number}.jpg", [("a", [1, 2, 9, 9])])
        own.write_text(tmp_path / "Annotations" / f"000{number}.xml", xml)
    (tmp_path / "JPEGImages" / "0002.jpg").unlink()
    with pytest.raises(InputError, match=r"The image 0002.* of .*0002\.xml is not below"):
        find_splits(tmp_path, 0.5)


def test_a_file_of_the_same_stem_is_no_image_that_was_converted_where_others_were_not(
    digits: Path, tmp_path: Path
) -> None:
    own.one_image_folder(digits, tmp_path)
    (tmp_path / "images" / "train_000001.png").rename(tmp_path / "train_000001.jpg")
    assert places(tmp_path, "train") == (Path("images"), {"images/train_000001.png"})
