"""Data that cannot be used: one sentence each, before anything is built."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from brs_detr.data.checks import check_data, declared_class_counts
from brs_detr.errors import InputError
from tests.data.spoiling import config, edit
from tests.scripts.processes import write_config


def test_good_data_passes_without_remarks(data: Path) -> None:
    assert check_data(config(data)) == []


def test_missing_folder_and_files(data: Path) -> None:
    (data / "train" / "000003.png").unlink()
    with pytest.raises(InputError, match=r"1 of the 8 images in .*train.json are missing, .*train/000003.png"):
        check_data(config(data))
    shutil.rmtree(data / "train")
    with pytest.raises(InputError, match="8 of the 8 images"):
        check_data(config(data))
    (data / "annotations" / "train.json").unlink()
    with pytest.raises(InputError, match=r"annotation file .*train.json cannot be read \(No such file"):
        check_data(config(data))
    shutil.rmtree(data)
    with pytest.raises(InputError, match=r"folder .*digits does not exist: .*python -m brs_detr.data.digits"):
        check_data(config(data))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"images": [', "is not JSON"),
        ("[1, 2]", "not in COCO format: it has no list of images"),
        ('{"images": [{"id": 1}]}', "no list of categories"),
        ('{"images": [], "categories": []}', "lists no images"),
        (
            '{"images": [{"id": 1, "file_name": "a", "height": 1, "width": 1}], "categories": []}',
            "no annotations",
        ),
    ],
)
def test_annotation_files_of_another_kind(data: Path, content: str, sentence: str) -> None:
    (data / "annotations" / "train.json").write_text(content)
    with pytest.raises(InputError, match=rf"The annotation file .*train\.json .*{sentence}"):
        check_data(config(data))


@pytest.mark.parametrize("key", ["bbox", "image_id", "category_id"])
def test_an_annotation_without_a_key(data: Path, key: str) -> None:
    edit(data, lambda content: content["annotations"][2].pop(key))
    with pytest.raises(InputError, match=f"Entry 2 of the annotations in .* has no '{key}'"):
        check_data(config(data))


def test_classes_that_the_file_does_not_have(data: Path) -> None:
    with pytest.raises(InputError, match=r"has 10 categories, without ten, but the config has 11 classes"):
        check_data(config(data, classes=(*"0123456789", "ten"), num_classes=11))


def test_classes_in_another_order(data: Path) -> None:
    with pytest.raises(InputError, match=r"orders its categories 0, 1, 2, 3, 4, \.\.\.: metainfo"):
        check_data(config(data, classes=tuple("9876543210")))


def test_num_classes_of_the_model(data: Path) -> None:
    with pytest.raises(InputError, match=r"model\.bbox_head\.num_classes = 80, but its data has 10 classes"):
        check_data(config(data, num_classes=80))


def test_advice_on_classes_is_about_those_of_the_file(data: Path) -> None:
    """A config may have inherited the others."""
    sentence = r"train\.json has 10 classes \(0, 1, 2, 3, 4, \.\.\.\), but metainfo\.classes names others \(cat, dog\)"
    with pytest.raises(InputError, match=sentence + ".*num_classes = 3: set metainfo.*num_classes to 10;"):
        check_data(config(data, classes=("cat", "dog"), num_classes=3))


def test_num_classes_is_found_in_lists_and_not_in_backbones() -> None:
    model = Config(
        {
            "model": {
                "backbone": {"num_classes": 1000},
                "rpn_head": {"num_classes": 1},
                "roi_head": {"bbox_head": [{"num_classes": 3}, {"num_classes": 4}]},
            }
        }
    ).model
    assert list(declared_class_counts(model)) == [
        ("model.roi_head.bbox_head.0.num_classes", 3),
        ("model.roi_head.bbox_head.1.num_classes", 4),
    ]


def test_a_subset_of_the_categories_is_remarked(data: Path) -> None:
    (remark,) = check_data(config(data, classes=("1", "2", "3"), num_classes=3))
    assert "boxes of categories outside metainfo.classes are ignored" in remark


def test_boxes_without_width_or_height_are_counted(data: Path) -> None:
    def flatten(content: dict) -> None:
        content["annotations"][0]["bbox"][2] = 0
        content["annotations"][1]["bbox"][3] = -5

    edit(data, flatten)
    (remark,) = check_data(config(data))
    assert remark.endswith("train.json: 2 boxes without width or height are dropped.")


def test_wrapped_data_sets_are_checked(data: Path) -> None:
    wrapped = config(data)
    inner = wrapped.train_dataloader.dataset
    (data / "train" / "000003.png").unlink()
    for wrapper in (
        {"type": "RepeatDataset", "times": 2, "dataset": inner},
        {"type": "ConcatDataset", "datasets": [inner]},
    ):
        wrapped.train_dataloader = {"dataset": wrapper}
        with pytest.raises(InputError, match="1 of the 8 images"):
            check_data(wrapped)


@pytest.fixture
def mask_config(data: Path) -> Config:
    with_masks = config(data)
    with_masks.train_dataloader.dataset.pipeline = [{"type": "LoadAnnotations", "with_mask": True}]
    return with_masks


def test_images_of_two_files_are_not_compared_with_the_objects_of_one(digits: Path, tmp_path: Path) -> None:
    """Their ids are the same: the objects of one file would be sought in the images of the other."""
    config = Config.fromfile(write_config(tmp_path, digits))
    dataset = config.val_dataloader.dataset
    other = {**dataset, "ann_file": "annotations/test.json", "data_prefix": {"img": "test/"}}
    config.val_dataloader.dataset = {"type": "ConcatDataset", "datasets": [dataset, other]}
    with pytest.raises(InputError, match=r"val_evaluator compares all their images with .*val\.json: evaluate one"):
        check_data(config, ("val",))
    config.val_evaluator = None
    check_data(config, ("val",))


def test_masks_pass_and_are_asked_for_by_mask_configs_only(data: Path, mask_config: Config) -> None:
    assert check_data(mask_config) == []
    edit(data, lambda content: content["annotations"][1].pop("segmentation"))
    assert check_data(config(data)) == []
    with pytest.raises(
        InputError, match=r"Entry 1 of the annotations in .*train\.json has no mask .*digits anew .*without a mask"
    ):
        check_data(mask_config)


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        ([], "has no mask"),
        ("polygon", "neither polygons nor run lengths"),
        ({"size": [64, 64]}, "neither polygons nor run lengths"),
        ({"size": [64, 64], "counts": [4095]}, "run lengths of 4095 pixels, but its image has 4096"),
        ({"size": [64, 64], "counts": [10**9]}, "run lengths of 1000000000 pixels"),
        ({"size": [64, 64], "counts": [-5, 4101]}, "run lengths that are no numbers"),
        ({"size": [64, 64], "counts": [2.5, 4093.5]}, "run lengths that are no numbers"),
        ({"size": [64, 64], "counts": ["4096"]}, "run lengths that are no numbers"),
        ({"size": [64, 64], "counts": "0"}, "run lengths of 0 pixels"),
        ({"size": [64, 64], "counts": "zzzz"}, "run lengths that are no numbers"),
        ({"size": [64, 64], "counts": "o" * 99}, "run lengths that are no numbers"),
        ([1, 1, 5, 5, 1, 5], "a polygon that is no list of numbers"),
        ([[1, 1, 5, 5, 1, "5"]], "a polygon that is no list of numbers"),
        ([[1, 1, 5, 5, 1, None]], "a polygon that is no list of numbers"),
        ([[1, 1, 5, 5, 1, float("nan")]], "a polygon that is no list of numbers"),
        ([[1, 1, 5, 5, 1, float("inf")]], "a polygon that is no list of numbers"),
        ([[1, 1, 5, 5, 1, 1e9]], "a polygon that is no list of numbers"),
        ([[1, 1, 5, 5, 1, 10**400]], "a polygon that is no list of numbers"),
        ({"size": [32, 64], "counts": [2048]}, r"run lengths of size \[32, 64\], but its image is \[64, 64\]"),
    ],
)
def test_broken_masks(data: Path, mask_config: Config, segmentation: object, sentence: str) -> None:
    edit(data, lambda content: content["annotations"][2].update(segmentation=segmentation))
    with pytest.raises(InputError, match=f"ntry 2 of the annotations in .*{sentence}"):
        check_data(mask_config)


def test_polygons_without_area_are_counted(data: Path, mask_config: Config) -> None:
    edit(data, lambda content: content["annotations"][0].update(segmentation=[[1, 1, 5, 5]]))
    edit(data, lambda content: content["annotations"][1].update(segmentation=[[1, 1, 5, 5, 1, 5]]))
    (remark,) = check_data(mask_config)
    assert remark.endswith("1 objects whose polygons have fewer than three corners are left out of training.")


def test_an_object_to_compare_masks_with_needs_one(data: Path) -> None:
    """pycocotools fails at the first evaluation otherwise."""
    scored = config(data)
    file = str(data / "annotations" / "train.json")
    scored.val_dataloader = {"dataset": scored.train_dataloader.dataset}
    scored.val_evaluator = {"type": "CocoMetric", "ann_file": file, "metric": ["bbox", "segm"]}
    assert check_data(scored, ("val",)) == []
    for flat in ([[]], [[1, 1]], [[1, 1, 5, 5]], [[1, 1], [1, 1, 5, 5]]):
        edit(data, lambda content, flat=flat: content["annotations"][1].update(segmentation=flat))
        with pytest.raises(InputError, match=r"No polygon of entry 1 of the annotations in .*train\.json has three"):
            check_data(scored, ("val",))
        scored.val_evaluator.metric = "bbox"
        assert check_data(scored, ("val",)) == []
        scored.val_evaluator.metric = ["bbox", "segm"]


def test_images_named_by_url(data: Path) -> None:
    """As in LVIS, whose images have no file_name."""

    def name_by_url(content: dict) -> None:
        for image in content["images"]:
            image["coco_url"] = "http://images.cocodataset.org/train/" + image.pop("file_name")

    edit(data, name_by_url)
    by_url = config(data)
    by_url.train_dataloader.dataset.data_prefix = {"img": ""}
    assert check_data(by_url) == []
    (data / "train" / "000003.png").unlink()
    with pytest.raises(InputError, match="1 of the 8 images"):
        check_data(by_url)


@pytest.mark.parametrize("release", [None, "np.float", "float"])
def test_lvis_needs_a_package_that_works(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str | None
) -> None:
    """The published release sums with np.float, which NumPy no longer has: known after the first epoch otherwise."""
    package = tmp_path / "packages" / "lvis"
    monkeypatch.setattr("sys.path", [str(package.parent)])
    lvis = config(data)
    lvis.train_dataloader.dataset.type = "LVISV1Dataset"
    if release:
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "eval.py").write_text(f"tp_sum = np.cumsum(tps, axis=1).astype(dtype={release})")
    if release == "float":
        assert check_data(lvis) == []
        return
    expected = "too old" if release else "need the package lvis"
    with pytest.raises(InputError, match=rf"{expected}.*pip install git"):
        check_data(lvis)


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ("cat", r"one string, not a list of names: write \('cat',\)"),
        ((), "give a list of names"),
        ((1, 2), "give a list of names"),
        ({"cat": 1}, "give a list of names"),
        (("0", "1", "0"), "names 0 twice"),
    ],
)
def test_classes_that_are_no_list_of_names(data: Path, classes: tuple, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_data(config(data, classes=classes, num_classes=len(classes)))


def test_classes_from_a_file(data: Path) -> None:
    """As mmengine reads them."""
    names = data / "classes.txt"
    names.write_text("\n".join("0123456789") + "\n")
    assert check_data(config(data, classes=str(names))) == []


def test_file_names_that_lead_elsewhere_are_followed_and_said(data: Path) -> None:
    edit(data, lambda content: content["images"][0].update(file_name="../train/000001.png"))
    (remark,) = check_data(config(data))
    assert remark.endswith("1 file names lead out of the image folder: ../train/000001.png.")
    edit(data, lambda content: content["images"][0].update(file_name=str(data / "train" / "000001.png")))
    (remark,) = check_data(config(data))
    assert "1 file names lead out of the image folder: /" in remark


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a\0b.png", "x" * 5000, "x" * 5000 + "/a.png", "a\0b/a.png", "000001.PNG"], ids=repr
)
def test_file_names_of_no_file(data: Path, name: str) -> None:
    edit(data, lambda content: content["images"][0].update(file_name=name))
    with pytest.raises(InputError, match=r"1 of the 8 images in .* are missing"):
        check_data(config(data))


def test_backslashes_in_file_names(data: Path) -> None:
    edit(data, lambda content: content["images"][0].update(file_name="train\\000001.png"))
    with pytest.raises(InputError, match="write '/' for"):
        check_data(config(data))


def test_a_folder_is_no_image(data: Path) -> None:
    (data / "train" / "000003.png").unlink()
    (data / "train" / "000003.png").mkdir()
    with pytest.raises(InputError, match=r"1 of the 8 images in .* are missing, .*000003\.png"):
        check_data(config(data))


def test_images_of_the_same_file(data: Path) -> None:
    edit(data, lambda content: content["images"][0].update(file_name="000002.png"))
    (remark,) = check_data(config(data))
    assert remark.endswith("1 images have the file name of another.")


def test_a_few_images_are_opened(data: Path) -> None:
    edit(data, lambda content: [image.update(width=128, height=128) for image in content["images"][:2]])
    (remark,) = check_data(config(data))
    assert "2 of 8 images opened have another size than the file says: " in remark
    assert "000001.png has 64 x 64 pixels instead of 128 x 128" in remark
    edit(data, lambda content: [image.update(width=128, height=128) for image in content["images"][:5]])
    with pytest.raises(InputError, match=r"5 of 8 images opened have another size than .*train\.json says: .* Correct"):
        check_data(config(data))
    (data / "train" / "000004.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"The image .*000004\.png cannot be read"):
        check_data(config(data))


def test_images_of_the_low_bits_of_16_are_remarked(data: Path) -> None:
    for path in sorted((data / "train").iterdir())[:3]:
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), pixels.astype(np.uint16) * 16)  # 12 of 16 bits
    for path in sorted((data / "train").iterdir())[3:]:
        cv2.imwrite(str(path), np.zeros_like(pixels))  # night, of 8 bits
    (remark,) = check_data(config(data))
    assert "3 of 8 images opened have more than 8 bits and use the low ones, so that a model sees them nearly" in remark
    assert re.search(r"000001\.png, at most 1\d of 255, .*; stretch them", remark)


def test_images_too_elongated_to_be_resized(data: Path) -> None:
    edit(data, lambda content: content["images"][3].update(width=5000, height=1))
    with pytest.raises(InputError, match=r"Entry 3 of the images in .*train\.json has 5000 x 1 pixels: one side may"):
        check_data(config(data))
