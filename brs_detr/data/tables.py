"""CSV files with a line an object: of TensorFlow's and RetinaNet's tools, DeepForest, Open Images, Kaggle."""

import csv
from collections import defaultdict
from pathlib import Path

from brs_detr.data.coco_file import listed
from brs_detr.data.conversion import Labelled, an_object, as_splits
from brs_detr.data.layouts import WORDS, Files, Split
from brs_detr.errors import InputError

NAMES = {  # of columns, in lower case without what joins words
    "image": ("filename", "imagepath", "imageid", "image", "imagename", "path", "img", "file", "imgpath"),
    "class": ("class", "label", "labelname", "classname", "category", "name", "labels", "classid", "categoryid"),
    "x1": ("xmin", "x1", "left", "bboxx1"),
    "y1": ("ymin", "y1", "top", "bboxy1"),
    "x2": ("xmax", "x2", "right", "bboxx2"),
    "y2": ("ymax", "y2", "bottom", "bboxy2"),
}
BOX = ("x1", "y1", "x2", "y2")
SPLITS = ("split", "set", "subset", "partition", "usage", "mluse")  # a column that says what an image is for
GROUP = ("isgroupof", "iscrowd")  # a column with 1 for a box around many objects, neither trained on nor evaluated
LIST = ("bbox", "box")  # a column of a list "[x, y, width, height]", as Kaggle has it
OUTSIDE = 2  # parts of an image's size, for boxes that lead out of it


def read_tables(files: Files) -> dict[str, Split]:
    """The splits of a folder with such files; none where there are none.

    Raises:
        InputError: a line is malformed, two files are of one split, or the only one of a split has other columns.
    """
    sources: dict[str, Path] = {}
    labelled: dict[str, list[Labelled]] = {}
    unread: list[Path] = []
    for path in files.of_kind({".csv"}):
        table = read_table(path)
        unread += [] if table else [path]
        for named, images in table.items():
            split = named or files.split_of(path) or "train"
            if split in sources:
                raise InputError(f"{sources[split]} and {path} both seem to be the {split} split: move one elsewhere.")
            sources[split], labelled[split] = path, images
    for path in unread if sources else ():
        if files.split_of(path) in {"train", "val"} - {*sources}:  # a table to test on may name images alone
            raise InputError(f"{why_unread(path)}: correct it, or move it elsewhere.")
    splits = as_splits(files, sources, labelled)
    for found in list(splits.values())[:1]:
        found.remarks += [f"{len(unread)} tables are left out: {why_unread(path)}." for path in unread[:1]]
    return splits


def why_unread(path: Path) -> str:
    """What a table lacks, as a sentence without its end."""
    first = next(iter(lines_of_table(path)), [])
    known = [*first, *BOX] if list_place(first) is not None else first
    lacking = [names[0] for names in NAMES.values() if place_of(names, known) is None]
    if not lacking:
        return f"{path} has no line below its header"
    return f"{path} has no column such as {listed(lacking, 6)}, but {listed(first, 12) or 'none at all'}"


def split_boxes(path: Path, lines: list[list[str]]) -> list[list[str]]:
    """The lines with columns x1, y1, x2, y2 for one of lists; as they are where there is none, or no class.

    Raises:
        InputError: a list is malformed, or none tells that it ends with width and height.
    """
    place = list_place(lines[0]) if lines else None
    if place is None or columns_of([*lines[0], *BOX]) is None or columns_of(lines[0]):
        return lines
    boxes = [list_of_sides(path, line[place] if place < len(line) else "") for line in lines[1:]]
    if not any(box and (box[2] < box[0] or box[3] < box[1]) for box in boxes):
        raise InputError(
            f"The column {lines[0][place]} of {path} may be x1, y1, x2, y2 or x, y, width, height: give four columns "
            "xmin, ymin, xmax, ymax instead."
        )
    return [[*lines[0], *BOX], *([*line, *corners(box)] for line, box in zip(lines[1:], boxes, strict=True))]


def list_place(first: list[str]) -> int | None:
    """Where a header has a column of lists."""
    known = [each.strip().lower() for each in first]
    return next((known.index(name) for name in LIST if name in known), None)


def corners(box: list[float]) -> list[str]:
    """x1 y1 x2 y2 of x y width height, as a table has them; empty entries of no box."""
    return [str(box[0]), str(box[1]), str(box[0] + box[2]), str(box[1] + box[3])] if box else [""] * 4


def list_of_sides(path: Path, text: str) -> list[float]:
    """Four numbers; none of an empty entry."""
    try:
        sides = [float(each) for each in text.strip("[]() ").replace(",", " ").split()]
    except ValueError:
        sides = [0.0]
    if len(sides) not in (0, 4):
        raise InputError(f"{path} has the box {text!r}: four numbers are needed. Correct or remove it.")
    return sides


def place_of(names: tuple[str, ...], first: list[str]) -> int | None:
    """Where a header has a column of one of these names."""
    known = ["".join(filter(str.isalnum, each.lower())) for each in first]
    return next((known.index(name) for name in names if name in known), None)


def columns_of(first: list[str]) -> dict[str, int] | None:
    """Where a header has what is needed; None if it has not all of it."""
    places = {field: place_of(names, first) for field, names in NAMES.items()}
    return (
        {field: place for field, place in places.items() if place is not None} if None not in places.values() else None
    )


def is_headless(first: list[str]) -> bool:
    """Whether it is ``path,x1,y1,x2,y2,class`` already, as RetinaNet's tools write it."""
    return len(first) == 6 and all(each.strip().replace(".", "", 1).lstrip("-").isdigit() for each in first[1:5])


def lines_of_table(path: Path) -> list[list[str]]:
    """The entries of each line.

    Raises:
        InputError: it is no table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            return [line for line in csv.reader(file, delimiter=max(",;\t", key=first.count)) if line]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"The table {path} cannot be read ({error}): correct or remove it.") from error


def read_table(path: Path) -> dict[str | None, list[Labelled]]:
    """The images of a CSV file by the split that a column names, or of None; none where it has other columns.

    Raises:
        InputError: a line is malformed.
    """
    lines = split_boxes(path, lines_of_table(path))
    columns = columns_of(lines[0]) if lines else None
    if columns is None and lines and is_headless(lines[0]):
        columns, lines = dict(zip(("image", *BOX, "class"), range(6), strict=True)), [[], *lines]
    if columns is None:
        return {}
    if (group := place_of(GROUP, lines[0])) is not None:
        columns = {**columns, "group": group}
    images, splits = images_of(path, columns, lines[1:]), split_of_each(path, columns["image"], lines)
    divided: dict[str | None, list[Labelled]] = defaultdict(list)
    for image in images:
        divided[splits.get(image.name)].append(image)
    return divided


def split_of_each(path: Path, image: int, lines: list[list[str]]) -> dict[str, str]:
    """The split of each image by a column that names it; empty where there is none.

    Raises:
        InputError: the column names none in a line, or two for an image.
    """
    place = place_of(SPLITS, lines[0])
    if place is None or not any(split_named(line, place) for line in lines[1:]):  # a set of something else
        return {}
    splits: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        split = split_named(line, place)
        if split is None or splits.setdefault(line[image].strip(), split) != split:
            problem = "no split" if split is None else f"another split of {line[image].strip()} than a line before"
            raise InputError(
                f"Line {number} of {path} names {problem} in the column {lines[0][place]}: write train, val or test."
            )
    return splits


def split_named(line: list[str], place: int) -> str | None:
    word = line[place].strip().lower() if place < len(line) else ""
    return next((split for split, words in WORDS.items() if word in words), None)


def images_of(path: Path, columns: dict[str, int], lines: list[list[str]]) -> list[Labelled]:
    images: dict[str, Labelled] = {}
    for number, line in enumerate(lines, 2):
        if len(line) <= max(columns.values()):
            raise InputError(f"Line {number} of {path} has {len(line)} entries, too few: correct or remove it.")
        field = {name: line[place].strip() for name, place in columns.items()}
        image = images.setdefault(field["image"], Labelled(field["image"], path))
        if any(field[side] for side in BOX):  # a line without a box: an image of background
            found = an_object(path, field["class"], [field[side] for side in BOX])
            image.objects.append(found._replace(ignored=field.get("group") == "1"))
    sides = [side for image in images.values() for each in image.objects for side in each.box]
    if sides and max(sides) <= OUTSIDE:  # Open Images: parts of the image's size
        for image in images.values():
            image.objects = [each._replace(relative=True) for each in image.objects]
    return list(images.values())
