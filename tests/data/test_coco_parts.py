"""Several COCO files of a split: taken together where their images differ, whatever the names; told where left out."""

import json
import shutil
from pathlib import Path

import pytest

from brs_detr.data.splits import find_splits
from brs_detr.errors import InputError
from tests.data import own
from tests.data.test_awkward_layouts import Expected, objects
from tests.data.test_splits import all_there


def numbered_anew(digits: Path, split: str, folders: dict[Path, Path]) -> None:
    """A part of a split for each file of annotations and its folder of images, all images called frame_N.png."""
    content = own.content_of(digits, split)
    for number, (file, folder) in enumerate(folders.items()):
        images = content["images"][number :: len(folders)]
        ids = {each["id"] for each in images}
        mine = [each for each in content["annotations"] if each["image_id"] in ids]
        folder.mkdir(parents=True, exist_ok=True)
        for frame, image in enumerate(images):
            shutil.copy(digits / split / image["file_name"], folder / f"frame_{frame}.png")
            image["file_name"] = f"frame_{frame}.png"
        own.write(file, {**content, "images": images, "annotations": mine})


def tasks(digits: Path, folder: Path) -> None:
    """As CVAT exports a project."""
    places = [folder / f"task{number}" for number in (1, 2)]
    numbered_anew(
        digits, "train", {each / "annotations" / "instances_default.json": each / "images" for each in places}
    )


def read(data: Path) -> Expected:
    """Objects of all splits."""
    splits, _ = find_splits(data, None if any(data.glob("val*")) else 0.25)
    assert all_there(splits)
    return sum((objects(split.images, split.content) for split in splits.values()), Expected())


def expected(digits: Path, *splits: str) -> Expected:
    return sum((objects(digits / split, own.content_of(digits, split)) for split in splits), Expected())


def test_tasks_that_number_their_images_anew(digits: Path, tmp_path: Path) -> None:
    tasks(digits, tmp_path)
    assert read(tmp_path) == expected(digits, "train")


def test_days_that_number_their_images_anew(digits: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        days = [tmp_path / split / f"day{number}" for number in (1, 2)]
        numbered_anew(digits, split, {day / "labels.json": day for day in days})
    assert read(tmp_path) == expected(digits, "train", "val")


def test_an_image_that_a_task_has_lost_is_not_that_of_another(digits: Path, tmp_path: Path) -> None:
    tasks(digits, tmp_path)
    (tmp_path / "task1" / "images" / "frame_0.png").unlink()
    files = {path for split in find_splits(tmp_path, 0.25)[0].values() for path in split.files}
    assert len(files) == 8
    assert [path for path in files if not path.is_file()] == [tmp_path / "task1" / "images" / "frame_0.png"]


def test_files_of_the_same_images_are_refused(digits: Path, tmp_path: Path) -> None:
    tasks(digits, tmp_path)
    shutil.copytree(tmp_path / "task1" / "annotations", tmp_path / "task1" / "again")
    with pytest.raises(InputError, match=r"again/instances_default\.json.* list the same images"):
        find_splits(tmp_path, 0.25)


@pytest.mark.parametrize("kind", ["VOC", "LabelMe"])
def test_images_of_one_name_beside_their_annotations(digits: Path, tmp_path: Path, kind: str) -> None:
    for number in (1, 2):
        folder = tmp_path / f"day{number}"
        folder.mkdir()
        shutil.copy(digits / "train" / f"00000{number}.png", folder / "0.png")
        box = [number, 2, 30, 40]
        if kind == "VOC":
            own.write_text(folder / "0.xml", own.voc_xml("0.png", [("a", box)]))
        else:
            shape = {"label": "a", "shape_type": "rectangle", "points": [box[:2], box[2:]]}
            own.write(folder / "0.json", {"imagePath": "0.png", "shapes": [shape]})
    content = {"annotations": [], "images": [], "categories": [{"id": 1, "name": "a"}]}
    for number in (1, 2):
        content["images"].append({"id": number, "file_name": f"00000{number}.png"})
        content["annotations"].append({"image_id": number, "category_id": 1, "bbox": [number, 2, 30 - number, 38]})
    assert read(tmp_path) == objects(digits / "train", content)


def remarks_with(digits: Path, folder: Path, *more: str) -> list[str]:
    """What is said of COCO's layout with more files, which have the training images but for their names."""
    own.coco(digits, folder)
    for name in more:
        content = own.content_of(digits, "train")
        for image in content["images"]:
            shutil.copy(digits / "train" / image["file_name"], folder / "train2017" / f"{name}_{image['file_name']}")
            image["file_name"] = f"{name}_{image['file_name']}"
        own.write(folder / "annotations" / f"{name}.json", content)
    return [each for each in find_splits(folder)[0]["train"].remarks if "COCO files" in each]


def test_a_file_of_no_split_is_told(digits: Path, tmp_path: Path) -> None:
    assert remarks_with(digits, tmp_path, "instances_batch2", "person_keypoints_batch2", "stuff_batch2") == [
        f"1 COCO files are left out, such as {tmp_path}/annotations/instances_batch2.json, since nothing tells their "
        "split: put train or val into their names."
    ]


def test_a_file_beside_those_called_instances_is_told(digits: Path, tmp_path: Path) -> None:
    assert remarks_with(digits, tmp_path, "train_more", "val_more", "captions_train") == [
        f"2 COCO files are left out, such as {tmp_path}/annotations/train_more.json, since others are called "
        "instances: let their names begin with instances, too."
    ]


def test_files_without_annotations_are_left_out_in_silence(digits: Path, tmp_path: Path) -> None:
    own.coco(digits, tmp_path)
    info = {key: own.content_of(digits, "train")[key] for key in ("images", "categories")}
    (tmp_path / "annotations" / "image_info_unlabeled2017.json").write_text(json.dumps(info))
    assert not any("COCO files" in each for each in find_splits(tmp_path)[0]["train"].remarks)
