"""Text files that users bring: their lines, and lists such as train.txt and val.txt that divide the images."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from brs_detr.data.coco_file import Content, counted
from brs_detr.data.layouts import WORDS, Files, Split
from brs_detr.errors import InputError


def lines_of(path: Path) -> list[str]:
    """A text file's lines, without spaces around them, nor empty ones at the end.

    Raises:
        InputError: it is no text in UTF-8.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no text in UTF-8 ({error}): correct or remove it.") from error


class SplitLists:
    """The split of an image by its name, as train.txt, val.txt and test.txt list it, with folders and suffix or not.

    None for an image of no list or of two. VOC's lists are those in ``Main``, beside which others are for other tasks.
    """

    def __init__(self, files: Files) -> None:
        found = [(split, path) for path in files.of_kind({".txt"}) if (split := split_named(path.stem))]
        main = [each for each in found if each[1].parent.name == "Main"]
        self.splits: dict[str, set[str]] = defaultdict(set)
        for split, path in main or found:
            for line in filter(None, lines_of(path)):
                for name in (each for pair in tails(line) for each in pair):
                    self.splits[name].add(split)

    def __call__(self, name: str) -> str | None:
        by_length = (self.splits.get(long, set()) | self.splits.get(short, set()) for long, short in tails(name))
        known = next(filter(None, by_length), set())
        return next(iter(known)) if len(known) == 1 else None


def split_named(stem: str) -> str | None:
    return next((split for split, words in WORDS.items() if stem.lower() in words), None)


def tails(name: str) -> Iterator[tuple[str, str]]:
    """``a/b.jpg`` and ``a/b``, then ``b.jpg`` and ``b``."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    for number in range(len(parts)):
        tail = PurePosixPath(*parts[number:])
        yield str(tail), str(tail.with_suffix("")) if tail.name else ""


def divided(split: Split, lists: SplitLists) -> dict[str, Split]:
    """A split that lists divide; as it is where they do not."""
    images: dict[str | None, list[Content]] = defaultdict(list)
    for image in split.content["images"]:
        images[lists(image["file_name"])].append(image)
    left_out = images.pop(None, [])
    if len(images) < 2:
        return {"train": split}
    name = left_out[0]["file_name"] if left_out else ""
    split.remarks += counted(len(left_out), f"images of {split.source} are left out, in no list or in two, as {name}.")
    return {
        each: Split(split.source, split.images, part(split.content, images[each]), True, split.remarks * (not number))
        for number, each in enumerate(word for word in WORDS if word in images)
    }


def part(content: Content, images: list[Content]) -> Content:
    """What a file says of some of its images."""
    ids = {image["id"] for image in images}
    kept = [each for each in content.get("annotations", []) if each["image_id"] in ids]
    return {**content, "images": sorted(images, key=lambda image: image["id"]), "annotations": kept}
