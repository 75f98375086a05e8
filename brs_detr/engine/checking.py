"""A look at the data of a config, at a folder, or at one COCO file, before training on it: a table and remarks."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from brs_detr.data.checks import coco_sources
from brs_detr.data.coco_checks import Report, check_all_images, check_source
from brs_detr.data.coco_file import CocoSource
from brs_detr.data.layouts import ANNOTATIONS, Split
from brs_detr.data.splits import agreed_classes, check_train, read_layout, shared_images
from brs_detr.data.yolo import describes, read_yaml
from brs_detr.engine.running.work_dir import written_by_training
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import InputError, printable
from brs_detr.files import check_destination, write_text

SPLITS = ("train", "val", "test")


@dataclass
class Checked:
    """One COCO file: the splits that read it, and either a report or the sentence that refuses it.

    found: of a folder, the split as it is trained on, of whatever format.
    """

    splits: str
    source: CocoSource | None = None
    found: Split | None = None
    report: Report | None = None
    fault: str | None = None


def sources_of_config(config: Config) -> Iterator[Checked]:
    """The COCO files of a config's splits, each once; a fault where a split does not go with its data."""
    splits: dict[CocoSource, list[str]] = {}
    for split in SPLITS:
        try:
            for source in coco_sources(config, split):
                splits.setdefault(source, []).append(split)
        except InputError as error:
            yield Checked(split, fault=str(error))
    for source, names in splits.items():
        yield Checked(", ".join(names), source)


def is_data(path: Path) -> bool:
    """Whether it is a table, an XML file, YOLO's data.yaml, or a folder and no work directory.

    Data in a folder may be called training.json, too.
    """
    if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
        content = read_yaml(path)
        return describes(content) and {"model", "_base_"}.isdisjoint(content)
    if not path.is_dir():
        return path.suffix.lower() in ANNOTATIONS
    return all(each.suffix == ".json" for each in written_by_training(path))


def sources_of_folder(folder: Path) -> Iterator[Checked]:
    """The splits of a folder as `train --data` finds them; a fault where they do not go together.

    Raises:
        InputError: no layout is known, or a file is malformed.
    """
    splits = read_layout(folder)
    next(iter(splits.values())).remarks += shared_images(splits)
    classes = None
    try:
        check_train(folder, splits)
        classes = agreed_classes(splits)
    except InputError as error:
        yield Checked("train", fault=str(error))
    for name, split in splits.items():
        source = CocoSource(split.source, split.images, split.images, classes, name == "train", name == "val")
        yield Checked(name, source, split)


def source_of_file(path: Path, images: Path | None) -> Checked:
    """A COCO file of which no config is known.

    Raises:
        InputError: it or the folder of its images is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a config or a COCO file.")
    if images and not images.is_dir():
        raise InputError(f"The image folder {images} does not exist.")
    return Checked(path.stem, CocoSource(path, images, path.parent))


def look(checked: Checked, open_images: bool) -> None:
    """Fill in the report, or the fault; a progress bar while all images are opened."""
    if checked.source is None:
        return
    try:
        found = checked.found
        report = check_source(checked.source, found.content if found and found.derived else None)
        if open_images:
            with Progress(console=Console(stderr=True, quiet=not sys.stderr.isatty())) as bar:
                task = bar.add_task(f"images of {checked.splits}", total=len(report.content["images"]))
                check_all_images(checked.source, report.content, lambda: bar.advance(task))
        checked.report = report
    except InputError as error:
        checked.fault = str(error)


def span(lengths: list[int]) -> str:
    """The least and the greatest."""
    least, greatest = min(lengths), max(lengths)
    return str(least) if least == greatest else f"{least}..{greatest}"


def print_table(files: list[Checked]) -> None:
    """A row for each file that can be used, then remarks on it; what is refused goes to the error stream."""
    for checked in files:
        if found := checked.found:
            print(printable(f"{checked.splits}: {found.source}, images in {found.images}"))
    table = Table("", "images", "without boxes", "boxes", "classes", "width", "height")
    for checked in files:
        if report := checked.report:
            images = report.content["images"]
            counts = (len(images), report.empty, report.boxes, len(report.classes))
            sides = (span([image[side] for image in images]) for side in ("width", "height"))
            table.add_row(checked.splits, *map(str, counts), *sides)
    if table.rows:
        Console().print(table)
    for checked in files:
        for remark in checked.found.remarks if checked.found else ():
            print(printable(remark))
        for remark in checked.report.remarks if checked.report else ():
            print(printable(f"{checked.splits}: {remark}."))
        for remark in checked.report.mended if checked.report else ():
            print(printable(f"{checked.splits}: {remark} (mended whenever it is read; --fix writes a mended copy)."))
        if checked.fault:
            print(printable(f"error: {checked.splits}: {checked.fault}"), file=sys.stderr)


def write_mended(files: list[Checked], out: Path, single: bool) -> None:
    """Write copies of the files with something to mend: to `out` itself, or into this folder, named by their splits.

    Of the others it says that they stay the right ones.

    Raises:
        InputError: a file of that name exists.
    """
    for checked in files:
        if checked.source and checked.report and not checked.report.mended:
            print(f"{checked.splits}: nothing to mend; use {checked.source.annotations} as it is, no copy is written.")
        elif checked.report:
            path = out if single else out / f"{checked.splits.replace(', ', '-')}.json"
            if path.exists():
                raise InputError(f"{path} exists already: choose another --fix, for nothing is overwritten.")
            write_text(path, json.dumps(checked.report.content))
            print(f"{path} written")


def check_data(
    path: str, images: str | None, *, open_images: bool, fix: str | None, options: dict[str, Any] | None
) -> int:
    """Print what a config's data, a folder of data, or a COCO file (``.json``), hold and what is wrong with them.

    Args:
        images: the folder of a COCO file's images; without it they are not looked for.
        open_images: open all of them.
        fix: the mended copy to write: a file for a COCO file, a folder for all else.

    Returns:
        0 where nothing is to be mended, or was now; 1 where `fix` would mend something; 2 where something is refused.
    """
    single = path.endswith(".json")
    if fix:
        check_destination(fix if single else Path(fix, f"{SPLITS[0]}.json"))
    if single and open_images and images is None:
        raise InputError("--images needs the folder of the images: give it after the COCO file.")
    if images and not single:
        raise InputError(f"A folder of images goes with a COCO file (.json), and {path} is none.")
    if single:
        files = [source_of_file(Path(path), Path(images) if images else None)]
    elif is_data(Path(path)):
        files = list(sources_of_folder(Path(path)))
    else:
        files = list(sources_of_config(load_config(path, options, None)))
    if not files:
        raise InputError(f"{path} has no data sets in COCO format: give another config, or a folder of data.")
    for checked in files:
        look(checked, open_images)
    print_table(files)
    if fix:
        write_mended(files, Path(fix), single)
    if any(checked.fault for checked in files):
        return 2
    return int(not fix and any(checked.report and checked.report.mended for checked in files))
