"""What an image is for, and which of its objects count, where a format says so in a place of its own."""

import json
import shutil
from pathlib import Path

from brs_detr.data.splits import find_splits
from tests.data import own


def names_of(data: Path) -> dict[str, list[str]]:
    return {
        name: sorted(Path(image["file_name"]).stem for image in split.content["images"])
        for name, split in find_splits(data)[0].items()
    }


def test_images_in_no_list_of_voc_or_in_two_are_left_out(digits: Path, tmp_path: Path) -> None:
    own.copy_images(digits, "train", tmp_path / "JPEGImages")
    stems = sorted(path.stem for path in (tmp_path / "JPEGImages").iterdir())
    for stem in stems:
        own.write_text(tmp_path / "Annotations" / f"{stem}.xml", own.voc_xml(f"{stem}.png", [("a", [1, 2, 9, 9])]))
    lists = {"train": stems[1:6], "val": stems[5:]}  # the first is held out by whoever made the lists
    for split, listed in lists.items():
        own.write_text(tmp_path / "ImageSets" / "Main" / f"{split}.txt", "\n".join(listed))
    assert names_of(tmp_path) == {"train": stems[1:5], "val": stems[6:]}
    (remark,) = find_splits(tmp_path)[0]["train"].remarks
    assert remark.startswith("2 images beside those of the splits have no annotations or no split, such as ")


def test_a_subset_of_cvat_is_a_split(digits: Path, tmp_path: Path) -> None:
    own.copy_images(digits, "train", tmp_path)
    box = '<box label="a" xtl="1" ytl="2" xbr="9" ybr="9"/>'
    images = "".join(
        f'<image name="{path.name}" subset="{"Validation" if number < 3 else "Train"}">{box}</image>'
        for number, path in enumerate(sorted(tmp_path.glob("*.png")))
    )
    (tmp_path / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    found = names_of(tmp_path)
    assert found["val"] == sorted(path.stem for path in tmp_path.glob("*.png"))[:3]
    assert len(found["train"]) == 5


def test_the_name_of_an_image_tells_no_split(digits: Path, tmp_path: Path) -> None:
    for folder, names in {"train": ["a_1", "dev_board_2", "test_track_3"], "valid": ["a_4", "train_5"]}.items():
        for name in names:
            (tmp_path / folder).mkdir(exist_ok=True)
            shutil.copy(digits / "train" / "000001.png", tmp_path / folder / f"{name}.png")
            own.write_text(tmp_path / folder / f"{name}.xml", own.voc_xml(f"{name}.png", [("a", [1, 2, 9, 9])]))
    assert names_of(tmp_path) == {"train": ["a_1", "dev_board_2", "test_track_3"], "val": ["a_4", "train_5"]}
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in [*tmp_path.glob("train/*"), *tmp_path.glob("valid/*")]:
        shutil.copy(path, flat)
    assert len(find_splits(flat, 0.2)[0]["train"].files) == 4  # all are to be trained on, but for these of --split


def test_groups_of_open_images_are_ignored(digits: Path, tmp_path: Path) -> None:
    own.open_images(digits, tmp_path)
    for path in tmp_path.glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        group = next(line for line in lines if "xclick" in line)
        lines = [f"{line},{int(line == group)}" for line in lines]
        path.write_text("\n".join([f"{header},IsGroupOf", *lines]))
    for split in find_splits(tmp_path)[0].values():
        assert [each["iscrowd"] for each in split.content["annotations"]].count(1) == 1


def test_labels_beside_images_below_a_folder_of_images(digits: Path, tmp_path: Path) -> None:
    data = tmp_path / "images" / "mine"
    own.yolo(digits, data)
    for split in ("train", "val"):
        shutil.move(data / "images" / split, data / split)
        for path in (data / "labels" / split).iterdir():
            shutil.move(path, data / split / path.name)
    (data / "data.yaml").write_text((data / "data.yaml").read_text().replace("images/", ""))
    splits, _ = find_splits(data)
    expected = {name: len(own.content_of(digits, name)["annotations"]) for name in splits}
    assert {name: len(split.content["annotations"]) for name, split in splits.items()} == expected


def test_the_data_beside_those_of_roboflow_are_not_taken(digits: Path, tmp_path: Path) -> None:
    own.yolo(digits, tmp_path / "mine")
    own.yolo(digits, tmp_path)  # images/train beside mine
    description = (tmp_path / "mine" / "data.yaml").read_text().replace(": images", ": ../images")
    (tmp_path / "mine" / "data.yaml").write_text(f"{description}test: ../test/images\n")
    splits, _ = find_splits(tmp_path / "mine")
    assert all(file.is_relative_to(tmp_path / "mine") for split in splits.values() for file in split.files)
    assert any("There is no test split: " in remark for remark in splits["train"].remarks)


def test_images_of_a_test_split_without_annotations_need_not_be_there(digits: Path, tmp_path: Path) -> None:
    own.coco(digits, tmp_path)
    content = own.content_of(digits, "val")
    for image in content["images"]:
        image["file_name"] = f"elsewhere_{image['file_name']}"
    info = {name: content[name] for name in ("images", "categories")}
    (tmp_path / "annotations" / "image_info_test2017.json").write_text(json.dumps(info))
    splits, _ = find_splits(tmp_path)
    assert list(splits) == ["train", "val"]
    assert any(
        "image_info_test2017.json has no annotations, and is left out" in each for each in splits["train"].remarks
    )
