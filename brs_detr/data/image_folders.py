"""Where the images of a split are: in the folder below which most of their names lead to a file, or here and there."""

import filecmp
import os
import unicodedata
from collections import Counter, defaultdict
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from brs_detr.data.layouts import IMAGES, Files, Split
from brs_detr.errors import InputError


def image_folder(files: Files, names: list[str], annotations: Path, split: str) -> tuple[Path, int]:
    """The folder below which most names lead to a file, and how many do.

    Of several, one whose path names the split comes first, then one of images rather than of masks, then the nearest
    to the annotations. Lost images do not let another take its place, even if all these names lead to files there.

    Raises:
        InputError: two are alike, with other files in them.
    """
    sample = names[:: max(1, len(names) // 20)]
    told = told_split(files, annotations, split)

    def suits(folder: Path) -> tuple[int | bool, ...]:
        found = sum(files.holds(f"{folder}/{name}") for name in sample)
        most, of_split, of_images = 2 * found > len(sample), files.split_of(folder) == split, files.of_images(folder)
        likely = (most or (found > 0 and (of_split or of_images > 0))) and not is_astray(files, folder, told)
        near = len(os.path.commonpath([folder, annotations]))
        return likely, most, found > 0, of_split, of_images, near, found, folder == annotations.parent

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


def told_split(files: Files, annotations: Path, split: str) -> str | None:
    """The split; None where it is train since nothing tells, so that its images may lie in folders of any."""
    named = {files.split_of(annotations), files.split_of(annotations.parent)}
    return split if split != "train" or split in named else None


def is_astray(files: Files, folder: Path, told: str | None) -> bool:
    """Whether a folder's path says that other images are in it: masks, or those of another split than is told."""
    return files.of_images(folder) < 0 or (told is not None and files.split_of(folder) not in (None, told))


def relocated(files: Files, names: list[str], split: str, told: str | None) -> dict[str, str]:
    """For names that lead nowhere from any one folder: where files of these names are, seen from the data folder.

    Folders of masks, or of another split than is told, count only where no other has any of them. Where no file has
    one of the names, files that have them but for the suffix will do: the images were converted to another format.
    """
    images = files.of_kind(IMAGES)
    known = {plain(each) for path in images for each in (path.name, path.stem)}
    wanted = {name: PurePosixPath(plain(name)) for name in names}
    if known.isdisjoint(each.name for each in wanted.values()):
        wanted = {name: each.with_suffix("") if each.name else each for name, each in wanted.items()}
    likely = [path for path in images if not is_astray(files, path.parent, told)]
    return places_among(files, likely, wanted, split) or places_among(files, images, wanted, split)


def places_among(files: Files, images: list[Path], wanted: dict[str, PurePosixPath], split: str) -> dict[str, str]:
    """The places of names, wanted with their suffix or without.

    Of several files, the one with the most folders in common, then one whose folders name the split. A file to which
    two names lead is that of the one which it ends with: the image of the other is lost.
    """
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in images:
        for each in {plain(path.name), plain(path.stem)}:
            by_name[each].append(path)
    places: dict[str, str] = {}
    for name, known in wanted.items():
        parts = known.parts

        def suits(path: Path, parts: tuple[str, ...] = parts) -> tuple[int, bool]:
            pairs = zip(reversed(parts), reversed(PurePosixPath(plain(str(path))).parts), strict=False)
            common = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
            return common, files.split_of(path.parent) == split

        if candidates := sorted(by_name.get(known.name, []), key=suits):
            if len(candidates) > 1 and suits(candidates[-1]) == suits(candidates[-2]):
                continue  # which one is meant, nothing tells
            places[name] = candidates[-1].relative_to(files.folder).as_posix()
    number = Counter(places.values())
    return {name: at for name, at in places.items() if number[at] == 1 or f"/{at}".endswith(f"/{plain(name)}")}


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
    if not look_for_images(files, found, split):
        images = found.content["images"]
        raise InputError(
            f"None of the {len(images)} images that {found.source} lists is below {files.folder}, the first is "
            f"{images[0]['file_name']}: put them there, or give --data the folder that holds both."
        )
    return found


def look_for_images(files: Files, found: Split, split: str) -> bool:
    """`find_images`, and whether one of them is there."""
    names = [image["file_name"] for image in found.content["images"]]
    check_repeated(files, names, found.source)
    found.images, number = image_folder(files, names, found.source, split)
    if number == len(names):
        return True
    places = relocated(files, names, split, told_split(files, found.source, split))
    if len(places) > number:
        for image in found.content["images"]:
            image["file_name"] = places.get(image["file_name"], image["file_name"])
        found.images, found.derived = files.folder, True
        found.remarks.append(
            f"{found.source} names its images otherwise than they lie below {files.folder}: they are found by name."
        )
    return bool(number or places)
