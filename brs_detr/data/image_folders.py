"""Where the images of a split are: in the folder below which most of their names lead to a file, or here and there."""

import filecmp
import unicodedata
from collections import Counter, defaultdict
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from brs_detr.data.layouts import IMAGES, Files, Split
from brs_detr.errors import InputError


def image_folder(files: Files, names: list[str], annotations: Path, split: str) -> tuple[Path, int]:
    """The folder below which most names lead to a file, and how many do.

    Of several, one whose path names the split comes first, then one of images rather than of masks, then the one of
    the annotations.

    Raises:
        InputError: two are alike, with other files in them.
    """
    sample = names[:: max(1, len(names) // 20)]

    def suits(folder: Path) -> tuple[int, bool, int, bool]:
        found = sum(files.holds(f"{folder}/{name}") for name in sample)
        return found, files.split_of(folder) == split, files.of_images(folder), folder == annotations.parent

    ranks = {folder: suits(folder) for folder in sorted(files.names, key=lambda each: (len(each.parts), each))}
    most = max(ranks.values())
    best, *others = [folder for folder, rank in ranks.items() if rank == most]
    name = next((name for name in sample if files.holds(f"{best}/{name}")), "")
    for other in others if name else []:
        if files.holds(f"{other}/{name}") and not filecmp.cmp(best / name, other / name, shallow=False):
            raise InputError(
                f"The images of {annotations} may be those in {best} or those in {other}, such as {name}: move the "
                "ones elsewhere that are not meant."
            )
    return best, sum(files.holds(f"{best}/{name}") for name in names)


def relocated(files: Files, names: list[str], split: str) -> dict[str, str]:
    """For names that lead nowhere from any one folder: where files of these names are, seen from the data folder.

    Without any, a file of the name with another suffix will do. Of several files, the one with the most folders in
    common, then one whose folders name the split.
    """
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in files.of_kind(IMAGES):
        by_name[plain(path.name)].append(path)
        by_name[plain(path.stem)].append(path)  # for images that were converted to another format
    places: dict[str, str] = {}
    for name in names:
        parts = PurePosixPath(plain(name)).parts

        def suits(path: Path, parts: tuple[str, ...] = parts) -> tuple[int, bool]:
            pairs = zip(reversed(parts), reversed(PurePosixPath(plain(str(path))).parts), strict=False)
            common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
            return common, files.split_of(path.parent) == split

        last = parts[-1] if parts else ""
        if candidates := sorted(by_name.get(last) or by_name.get(PurePosixPath(last).stem, []), key=suits):
            if len(candidates) > 1 and suits(candidates[-1]) == suits(candidates[-2]):
                continue  # which one is meant, nothing tells
            places[name] = candidates[-1].relative_to(files.folder).as_posix()
    return places


def plain(name: str) -> str:
    """A name as files have it: without what a web address adds, letters with their accents, folders after ``/``."""
    inside = unquote(urlsplit(name).path) if "://" in name else name.replace("\\", "/")
    return unicodedata.normalize("NFC", inside)


def check_repeated(files: Files, names: list[str], annotations: Path) -> None:
    """Raises InputError where entries share a name, and several files have it: which is whose, nothing tells."""
    repeated = [name for name, number in Counter(names).items() if number > 1]
    places = Counter(each for found in files.names.values() for each in found) if repeated else Counter()
    if lost := [name for name in repeated if places[PurePosixPath(name.replace("\\", "/")).name] > 1]:
        raise InputError(
            f"{annotations} lists several images as {lost[0]}, and several files have this name: give each entry the "
            "folder of its image."
        )


def find_images(files: Files, found: Split, split: str) -> Split:
    """Set the folder of a split's images, or where each of them is.

    Raises:
        InputError: none of them is there.
    """
    names = [image["file_name"] for image in found.content["images"]]
    check_repeated(files, names, found.source)
    found.images, number = image_folder(files, names, found.source, split)
    if number == len(names):
        return found
    places = relocated(files, names, split)
    if not number and not places:
        raise InputError(
            f"None of the {len(names)} images that {found.source} lists is below {files.folder}, the first is "
            f"{names[0]}: put them there, or give --data the folder that holds both."
        )
    if len(places) > number:
        for image in found.content["images"]:
            image["file_name"] = places.get(image["file_name"], image["file_name"])
        found.images, found.derived = files.folder, True
        found.remarks.append(
            f"{found.source} names its images otherwise than they lie below {files.folder}: they are found by name."
        )
    return found
