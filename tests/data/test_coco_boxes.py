"""Boxes that training leaves out: counted, one reason each, and refused where none is left."""

from pathlib import Path

import pytest
from mmengine.config import Config

from brs_detr.data.checks import check_data
from brs_detr.errors import InputError
from tests.data.spoiling import Edit, config, edit


def update(**fields: object) -> Edit:
    """Spoils the first two annotations."""
    return lambda content: [annotation.update(fields) for annotation in content["annotations"][:2]]


def repeats(content: dict) -> list[dict]:
    return content["annotations"][:2]


REMARKED = [
    (update(image_id=99), "2 annotations of images that the file does not list are ignored"),
    (update(category_id=77), "2 boxes have category ids that the file does not list and are ignored: 77"),
    (update(category_id=10**30), "2 boxes have category ids that the file does not list and are ignored: 1000000"),
    (update(bbox=[60, 60, 20, 20]), "2 boxes reach outside their image"),
    (update(bbox=[-20, 5, 30, 10]), "2 boxes reach outside their image"),
    (update(bbox=[64, 5, 10, 10]), "2 boxes wholly outside their image are dropped"),
    (update(bbox=[-30, 5, 30, 10]), "2 boxes wholly outside their image are dropped"),
    (update(bbox=[5, 5, 0, 10]), "2 boxes without width or height are dropped"),
    (update(bbox=[5, 5, 10, 0.5]), "2 boxes of less than a pixel, or whose 'area' is 0, are not trained on"),
    (update(area=0), "2 boxes of less than a pixel, or whose 'area' is 0, are not trained on"),
    (update(area=-3.5), "2 boxes of less than a pixel, or whose 'area' is 0, are not trained on"),
    (update(iscrowd=1), "2 crowds are neither trained on nor counted as misses"),
    (update(ignore=1), "2 boxes marked 'ignore' are not trained on, and crowds to an evaluation"),
    (update(segmentation=[]), "2 annotations have an empty segmentation"),
    (
        lambda content: content["annotations"].extend({**each, "id": 1000 + each["id"]} for each in repeats(content)),
        "2 boxes are there before, of the same class: an evaluation counts each",
    ),
]


@pytest.mark.parametrize(("change", "remark"), REMARKED, ids=[remark for _, remark in REMARKED])
def test_what_is_counted(data: Path, change: Edit, remark: str) -> None:
    edit(data, change)
    (found,) = check_data(config(data))
    assert found.startswith(f"{data}/annotations/train.json: {remark}")


def test_boxes_that_end_at_the_border_are_good(data: Path) -> None:
    edit(data, update(bbox=[0, 0, 64.5, 64]))
    assert check_data(config(data)) == []


@pytest.mark.parametrize(
    ("kind", "key", "step", "remark"),
    [
        ("annotations", "category_id", -1, "count them from 0, the categories from 1"),
        ("categories", "id", -1, "count them from 1, the categories from 0"),
    ],
)
def test_categories_counted_from_zero_and_one(data: Path, kind: str, key: str, step: int, remark: str) -> None:
    edit(data, lambda content: [entry.update({key: entry[key] + step}) for entry in content[kind]])
    (found,) = check_data(config(data))
    assert remark in found


def test_images_without_boxes_are_remarked_where_they_are_most(data: Path) -> None:
    edit(data, lambda content: content.update(annotations=content["annotations"][:1]))
    (remark,) = check_data(config(data))
    assert remark.endswith("7 of 8 images have no boxes.")


NOTHING_LEFT = [
    (dict(bbox=[70, 70, 5, 5]), "boxes wholly outside their image are dropped"),
    (dict(iscrowd=1), "crowds are neither trained on"),
    (dict(area=0), "boxes of less than a pixel, or whose 'area' is 0, are not trained on"),
    (dict(category_id=99), "category ids that the file does not list"),
    (dict(image_id=99), "annotations of images that the file does not list"),
]


@pytest.mark.parametrize(("fields", "reason"), NOTHING_LEFT, ids=[str(fields) for fields, _ in NOTHING_LEFT])
def test_no_box_is_left(data: Path, fields: dict, reason: str) -> None:
    edit(data, lambda content: [annotation.update(fields) for annotation in content["annotations"]])
    with pytest.raises(InputError, match=rf"No box in .*train\.json is left to train on: \d+ .*{reason}"):
        check_data(config(data))


def test_images_too_small_for_the_config(data: Path) -> None:
    small = config(data)
    small.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True, min_size=65)
    with pytest.raises(InputError, match="boxes in images narrower than 65 pixels are dropped"):
        check_data(small)


def evaluated(data: Path, **evaluator: object) -> Config:
    """A config that evaluates on the file it trains on."""
    both = config(data)
    both.val_dataloader = both.train_dataloader.copy()
    both.val_dataloader.dataset.test_mode = True
    both.val_evaluator = dict(type="CocoMetric", ann_file=str(data / "annotations" / "train.json")) | evaluator
    return both


def test_validation_needs_boxes_unless_predictions_are_only_written(data: Path) -> None:
    edit(data, lambda content: content.update(annotations=[]))
    with pytest.raises(InputError, match="has no annotations to evaluate against"):
        check_data(evaluated(data), ("val",))
    assert check_data(evaluated(data, format_only=True, outfile_prefix="x"), ("val",)) == []
    edit(data, lambda content: content.pop("annotations"))
    with pytest.raises(InputError, match="has no annotations to evaluate against"):
        check_data(evaluated(data), ("val",))


def test_the_evaluator_compares_with_the_file_of_the_data_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_data(evaluated(data)) == []
    monkeypatch.chdir(data)
    assert check_data(evaluated(data, ann_file="annotations/../annotations/train.json")) == []
    assert check_data(evaluated(data, ann_file=None)) == []
    other = evaluated(data, ann_file="annotations/val.json")
    other.val_evaluator = [dict(type="DumpResults", out_file_path="x.pkl"), other.val_evaluator]
    with pytest.raises(InputError, match=r"val_evaluator compares with annotations/val.json, but val_dataloader reads"):
        check_data(other)
