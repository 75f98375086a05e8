"""COCO files that lie: refused with entry and value, or mended so that data set and evaluator see the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric

from brs_detr.data.checks import check_data
from brs_detr.data.coco_api import MendedCOCO
from brs_detr.data.coco_file import read_annotations
from brs_detr.data.digits import CLASSES
from brs_detr.data.masks import decode, encode
from brs_detr.errors import InputError
from tests.data.spoiling import Edit, config, edit

MALFORMED = [
    ("images", "id", True, "an integer"),
    ("images", "id", "7", "an integer"),
    ("images", "id", 7.0, "an integer"),
    ("images", "id", None, "an integer"),
    ("images", "width", 0, "a positive integer"),
    ("images", "width", -64, "a positive integer"),
    ("images", "height", 64.0, "a positive integer"),
    ("images", "height", "64", "a positive integer"),
    ("images", "height", True, "a positive integer"),
    ("images", "width", None, "a positive integer"),
    ("images", "file_name", 3, "a string"),
    ("images", "file_name", None, "a string"),
    ("images", "file_name", ["a.png"], "a string"),
    ("categories", "id", False, "an integer"),
    ("categories", "id", "1", "an integer"),
    ("categories", "name", 4, "a string"),
    ("categories", "name", " ", "a string that is not blank"),
    ("categories", "name", "", "a string that is not blank"),
    ("annotations", "id", 2.5, "an integer"),
    ("annotations", "id", True, "an integer"),
    ("annotations", "image_id", "1", "an integer"),
    ("annotations", "image_id", [1], "an integer"),
    ("annotations", "category_id", 1.0, "an integer"),
    ("annotations", "category_id", None, "an integer"),
    ("annotations", "bbox", None, "four finite numbers"),
    ("annotations", "bbox", [], "four finite numbers"),
    ("annotations", "bbox", [1, 2, 3], "four finite numbers"),
    ("annotations", "bbox", [1, 2, 3, 4, 5], "four finite numbers"),
    ("annotations", "bbox", [float("nan"), 2, 3, 4], "four finite numbers"),
    ("annotations", "bbox", [1, 2, float("inf"), 4], "four finite numbers"),
    ("annotations", "bbox", [1, 2, 10**400, 4], "four finite numbers"),
    ("annotations", "bbox", ["1", 2, 3, 4], "four finite numbers"),
    ("annotations", "bbox", [1, 2, 3, True], "four finite numbers"),
    ("annotations", "bbox", [1, 2, None, 4], "four finite numbers"),
    ("annotations", "bbox", [[1, 2], [3, 4]], "four finite numbers"),
    ("annotations", "bbox", {"x": 1, "y": 2, "w": 3, "h": 4}, "four finite numbers"),
    ("annotations", "bbox", "1 2 3 4", "four finite numbers"),
    ("annotations", "area", float("nan"), "a finite number"),
    ("annotations", "area", "100", "a finite number"),
    ("annotations", "area", None, "a finite number"),
    ("annotations", "iscrowd", 2, "0 or 1"),
    ("annotations", "iscrowd", "0", "0 or 1"),
    ("annotations", "iscrowd", None, "0 or 1"),
]


@pytest.mark.parametrize(("kind", "key", "value", "meaning"), MALFORMED, ids=str)
def test_a_malformed_field(data: Path, kind: str, key: str, value: object, meaning: str) -> None:
    edit(data, lambda content: content[kind][1].update({key: value}))
    with pytest.raises(InputError) as caught:
        check_data(config(data))
    sentence = str(caught.value)
    assert sentence.startswith(f"Entry 1 of the {kind} in {data}/annotations/train.json has {key} ")
    assert f", not {meaning}" in sentence
    assert len(sentence) < 300


@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
@pytest.mark.parametrize("entry", [None, 5, "text", [1, 2]], ids=str)
def test_entries_that_are_no_objects(data: Path, kind: str, entry: object) -> None:
    edit(data, lambda content: content[kind].insert(1, entry))
    with pytest.raises(InputError, match=f"Entry 1 of the {kind} in .* is .*, not an object"):
        check_data(config(data))


@pytest.mark.parametrize(
    ("kind", "key"), [("images", "id"), ("annotations", "id"), ("categories", "id"), ("categories", "name")]
)
def test_duplicates(data: Path, kind: str, key: str) -> None:
    edit(data, lambda content: content[kind][4].update({key: content[kind][1][key]}))
    with pytest.raises(InputError, match=f"Entries 1 and 4 of the {kind} in .* have the same {key} "):
        check_data(config(data))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"images": ' + "[" * 50_000 + "]" * 50_000 + "}", "nested too deeply"),
        ("", "not JSON"),
        ("null", "no list of images"),
        ('"images"', "no list of images"),
        ('{"images": {}, "categories": []}', "no list of images"),
        ('{"images": [1], "categories": 5}', "no list of categories"),
        ('{"images": [1], "categories": [], "annotations": {}}', "no list of annotations"),
        ('{"images": [' + "9" * 5000 + '], "categories": []}', "not JSON"),
        ("<html>moved</html>", "not JSON"),
        ("\x1f\x8b\x08", "not JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_files_of_another_kind(data: Path, content: str, sentence: str) -> None:
    (data / "annotations" / "train.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=rf"The annotation file .*train\.json .*{sentence}"):
        check_data(config(data))


def test_a_folder_instead_of_a_file(data: Path) -> None:
    (data / "annotations" / "train.json").unlink()
    (data / "annotations" / "train.json").mkdir()
    with pytest.raises(InputError, match=r"train\.json cannot be read \(Is a directory\)"):
        check_data(config(data))


def perfect_ap(file: Path, kind: str = "bbox") -> float:
    """AP of detections that are the annotations themselves, by mmdet's own metric."""
    metric = CocoMetric(ann_file=str(file), metric=[kind])
    metric.dataset_meta = dict(classes=CLASSES)
    truth = json.loads(file.read_text("utf-8-sig"))
    results = []
    for image in truth["images"]:
        objects = [each for each in truth["annotations"] if each["image_id"] == image["id"]]
        boxes = np.array([each["bbox"] for each in objects], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([each["category_id"] - 1 for each in objects], dtype=np.int64)
        found = dict(img_id=image["id"], bboxes=boxes, scores=np.ones(len(boxes)), labels=labels)
        found["masks"] = [encode(decode(each["segmentation"], 64, 64)) for each in objects]
        results.append((dict(width=64, height=64, img_id=image["id"]), found))
    return metric.compute_metrics(results)[f"{kind}_mAP"]


def drop(key: str) -> Edit:
    return lambda content: [annotation.pop(key) for annotation in content["annotations"]]


def count_from_zero(content: dict) -> None:
    for number, annotation in enumerate(content["annotations"]):
        annotation["id"] = number


MENDED = [
    (drop("iscrowd"), "annotations without 'iscrowd' count as single objects"),
    (drop("area"), "annotations without 'area' get that of their box"),
    (count_from_zero, "annotation id 0, to pycocotools 'no match', becomes "),
]


@pytest.mark.parametrize(("change", "remark"), MENDED, ids=["iscrowd", "area", "id 0"])
def test_what_is_mended_evaluates_and_trains(data: Path, change: Edit, remark: str) -> None:
    file = data / "annotations" / "train.json"
    before = CocoDataset(**dataset_of(data)).load_data_list()
    edit(data, change)
    written = file.read_bytes()
    (found,) = check_data(config(data))
    assert remark in found
    assert perfect_ap(file) == pytest.approx(1)
    assert CocoDataset(**dataset_of(data)).load_data_list() == before
    assert file.read_bytes() == written


@pytest.mark.parametrize("flat", [[], [1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5]])
def test_polygons_with_too_few_corners_are_dropped_beside_others(data: Path, flat: list[int]) -> None:
    """As training drops them; pycocotools, which evaluates, takes polygons that begin so for boxes, or fails."""

    def add_flat(content: dict) -> None:
        for annotation in content["annotations"]:
            x, y, width, height = annotation["bbox"]
            annotation["segmentation"] = [flat, [x, y, x + width, y, x + width, y + height], flat]

    edit(data, add_flat)
    file = data / "annotations" / "train.json"
    (remark,) = check_data(config(data))
    assert "polygons of fewer than three corners are dropped" in remark
    assert perfect_ap(file, "segm") == pytest.approx(1)
    assert all(len(each["segmentation"]) == 1 for each in read_annotations(file)[0]["annotations"])


def dataset_of(data: Path) -> dict:
    dataset = config(data).train_dataloader.dataset.to_dict()
    dataset.pop("type")
    return dataset | {"pipeline": [], "lazy_init": True, "test_mode": True} | absolute(data)


def absolute(data: Path) -> dict:
    """mmdet joins file names to the root only when it is not lazy."""
    return {"ann_file": str(data / "annotations/train.json"), "data_prefix": {"img": str(data / "train")}}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark(data: Path, encoding: str) -> None:
    file = data / "annotations" / "train.json"
    file.write_text(file.read_text(), encoding)
    (remark,) = check_data(config(data))
    assert f"encoded as {encoding}" in remark
    assert len(MendedCOCO(str(file)).imgs) == 8


def test_the_mended_content_is_complete(data: Path) -> None:
    for change, _ in MENDED:
        edit(data, change)
    content, remarks = read_annotations(data / "annotations" / "train.json")
    assert len(remarks) == 3
    ids = [annotation["id"] for annotation in content["annotations"]]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    for annotation in content["annotations"]:
        assert annotation["area"] == annotation["bbox"][2] * annotation["bbox"][3]
        assert annotation["iscrowd"] == 0
    data_file = data / "mended.json"
    data_file.write_text(json.dumps(content))
    assert read_annotations(data_file) == (content, [])
