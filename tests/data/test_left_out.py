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


@pytest.mark.parametrize("text", ["", '{"images": [', '{"annotations" : [{"id": 1'])
def test_a_file_of_no_split_that_is_cut_short(digits: Path, tmp_path: Path, text: str) -> None:
    own.one_image_folder(digits, tmp_path)
    for name, day in (("train", "sunday"), ("val", "monday")):
        (tmp_path / f"{name}.json").rename(tmp_path / f"{day}.json")
    (tmp_path / "notes.json").write_text('{"images": {}}')
    (tmp_path / "captions.json").write_text('{"images": [], "annotations": []}')
    find_splits(tmp_path, 0.5)
    (tmp_path / "tuesday.json").write_text(text)
    with pytest.raises(InputError, match=r"tuesday\.json is not JSON"):
        find_splits(tmp_path, 0.5)


def test_a_file_of_validation_beside_one_to_train_on_of_another_format(digits: Path, tmp_path: Path) -> None:
    own.one_image_folder(digits, tmp_path)
    (tmp_path / "train.json").unlink()
    find_splits(tmp_path, 0.5)  # alone, it may have any name
    (tmp_path / "train.csv").write_text("filename,class,xmin,ymin,xmax,ymax\n")
    with pytest.raises(InputError, match=r"a val split \(.*val\.json\), but none of that format to train on"):
        find_splits(tmp_path, 0.5)


def test_a_table_alone_is_all_that_is_read(digits: Path, tmp_path: Path) -> None:
    own.table(digits, tmp_path)
    both, _ = find_splits(tmp_path)
    splits, _ = find_splits(tmp_path / "train_labels.csv", 0.5)
    images = len(both["train"].files)
    assert [len(split.files) for split in splits.values()] == [images // 2, images // 2]


@pytest.mark.parametrize("left", [".brs_detr.lock", "last_checkpoint", "20260102_030405/vis_data/scalars.json"])
def test_the_copies_of_an_earlier_training_are_not_taken(digits: Path, tmp_path: Path, left: str) -> None:
    own.voc(digits, tmp_path)
    work_dir = tmp_path / "work_dirs" / "first"
    own.write(work_dir / "data" / "train-01234567.json", own.content_of(digits, "train"))
    with pytest.raises(InputError, match=r"None of the 8 images that .*train-01234567\.json lists is below"):
        find_splits(tmp_path)
    (work_dir / left).parent.mkdir(parents=True, exist_ok=True)
    (work_dir / left).touch()
    splits, _ = find_splits(tmp_path)
    assert splits["train"].source.suffix == ".xml"


def test_images_may_lie_in_folders_called_by_a_time(digits: Path, tmp_path: Path) -> None:
    own.one_image_folder(digits, tmp_path / "flights")
    (tmp_path / "flights" / "images").rename(tmp_path / "flights" / "20260102_030405")
    assert_read(digits, tmp_path)


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


def boxes_by_class(data: Path) -> tuple[dict[str, list[float]], list[str]]:
    """Of the two images of a folder, each of which is a split then: boxes x y width height, and remarks."""
    splits = find_splits(data, 0.5)[0].values()
    names = {each["id"]: each["name"] for split in splits for each in split.content["categories"]}
    annotations = [each for split in splits for each in split.content["annotations"]]
    boxes = {names[each["category_id"]]: [round(side, 3) for side in each["bbox"]] for each in annotations}
    return boxes, [remark for split in splits for remark in split.remarks]


def two_images(digits: Path, folder: Path) -> None:
    for name in ("000001.png", "000002.png"):
        (folder / name).write_bytes((digits / "train" / name).read_bytes())


SHAPES_OF_CVAT = """
<box label="box" xtl="10" ytl="20" xbr="30" ybr="50" rotation="0.0"/>
<box label="upright" xtl="10" ytl="20" xbr="30" ybr="50" rotation="90"/>
<box label="turned" xtl="10" ytl="20" xbr="30" ybr="40" rotation="45.0"><attribute name="a">1</attribute></box>
<ellipse label="ellipse" cx="30" cy="20" rx="10" ry="5"/>
<ellipse label="disc" cx="30" cy="20" rx="10" ry="10" rotation="45"/>
<mask label="mask" rle="1, 2" left="3" top="4" width="10" height="20"/>
<polygon label="polygon" points="1,2;11,2;11,22"/>
<polyline label="line" points="1,2;3,4"/><polyline label="line" points="1,2;3,4"/>
<points label="point" points="1,2"/>
<skeleton label="skeleton"><points label="joint" points="1,2"/></skeleton>
<tag label="sunny"/>"""


def test_every_shape_of_cvat(digits: Path, tmp_path: Path) -> None:
    two_images(digits, tmp_path)
    images = '<image name="000001.png">{}</image><image name="000002.png">{}</image>'
    objects = SHAPES_OF_CVAT.replace('label="', 'label="other ')
    (tmp_path / "all.xml").write_text(f"<annotations>{images.format(SHAPES_OF_CVAT, objects)}</annotations>")
    boxes, remarks = boxes_by_class(tmp_path)
    expected = {
        "box": [10, 20, 20, 30],
        "upright": [5, 25, 30, 20],
        "turned": [5.858, 15.858, 28.284, 28.284],
        "ellipse": [20, 15, 20, 10],
        "disc": [20, 10, 20, 20],
        "mask": [3, 4, 10, 20],
        "polygon": [1, 2, 10, 20],
    }
    assert boxes == expected | {f"other {name}": box for name, box in expected.items()}
    assert remarks == [
        "8 shapes of train bound no area and are left out (points, polyline, skeleton), the first in "
        f"{tmp_path}/all.xml."
    ]


@pytest.mark.parametrize("rotation", ["some", "inf", "nan"])
def test_rotations_that_are_none(digits: Path, tmp_path: Path, rotation: str) -> None:
    two_images(digits, tmp_path)
    box = f'<box label="a" xtl="1" ytl="2" xbr="3" ybr="4" rotation="{rotation}"/>'
    (tmp_path / "all.xml").write_text(f'<annotations><image name="000001.png">{box}</image></annotations>')
    with pytest.raises(InputError, match=r"all\.xml has an object a with the box .*Correct or remove it"):
        find_splits(tmp_path, 0.5)


def test_every_shape_of_labelme(digits: Path, tmp_path: Path) -> None:
    two_images(digits, tmp_path)
    corners = [[30, 2], [10, 22]]
    kinds = ("rectangle", "mask", "circle", "point", "points", "line", "linestrip")
    shapes = [{"label": kind, "shape_type": kind, "points": corners} for kind in kinds]
    shapes[2]["points"] = [[30, 30], [33, 34]]
    for name in ("000001", "000002"):
        own.write(tmp_path / f"{name}.json", {"imagePath": f"{name}.png", "shapes": shapes})
    boxes, remarks = boxes_by_class(tmp_path)
    assert boxes == {"rectangle": [10, 2, 20, 20], "mask": [10, 2, 20, 20], "circle": [25, 25, 10, 10]}
    assert remarks == [
        "8 shapes of train bound no area and are left out (line, linestrip, point, points), the first in "
        f"{tmp_path}/000001.json."
    ]


def test_a_table_with_other_columns(digits: Path, tmp_path: Path) -> None:
    own.table(digits, tmp_path)
    header, *lines = (tmp_path / "train_labels.csv").read_text().splitlines()
    own.write_text(tmp_path / "train_labels.csv", "\n".join([header.replace("xmin", "begin"), *lines]))
    lacking = r"train_labels\.csv has no column such as xmin, but image_path, begin, ymin, xmax, ymax, label"
    with pytest.raises(InputError, match=f"{lacking}: correct it, or move it elsewhere"):
        find_splits(tmp_path)
    (tmp_path / "val_labels.csv").unlink()
    with pytest.raises(InputError, match=rf"no layout that is known.*{lacking}\. "):
        find_splits(tmp_path)


@pytest.mark.parametrize(("text", "reason"), [("a,b\n", "no column"), ("", "none at all"), (None, "no line below")])
def test_tables_that_are_left_out(digits: Path, tmp_path: Path, text: str | None, reason: str) -> None:
    own.table(digits, tmp_path)
    header = (tmp_path / "train_labels.csv").read_text().splitlines()[0]
    (tmp_path / "test.csv").write_text(header if text is None else text)
    remark = find_splits(tmp_path)[0]["train"].remarks[-1]
    assert remark.startswith(f"1 tables are left out: {tmp_path}/test.csv has no ")
    assert reason in remark


def test_a_column_of_boxes_without_one_of_classes(digits: Path, tmp_path: Path) -> None:
    own.copy_images(digits, "train", tmp_path)
    (tmp_path / "train.csv").write_text('image_id,width,bbox\n000001,9,"[1, 2, 3, 4]"\n')
    with pytest.raises(InputError, match=r"train\.csv has no column such as class, but image_id, width, bbox"):
        find_splits(tmp_path, 0.5)
