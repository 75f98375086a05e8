"""A split from its COCO file, or from several such as one a day or one an image."""

import os
from pathlib import Path

from brs_detr.data.coco_file import Content, listed, read_annotations
from brs_detr.data.image_folders import find_images, look_for_images
from brs_detr.data.layouts import Files, Split
from brs_detr.errors import InputError


def together(contents: list[Content]) -> Content:
    """One content of several files, with its own ids; classes are one by name.

    What refers to an image or a class that its file does not list refers to id 0, which none has.
    """
    images: list[Content] = []
    annotations: list[Content] = []
    numbers: dict[str, int] = {}
    for content in contents:
        first, files = len(images) + 1, content["images"]
        image_ids = {image["id"]: number for number, image in enumerate(files, first)}
        classes = {each["id"]: numbers.setdefault(each["name"], len(numbers) + 1) for each in content["categories"]}
        images += [{**image, "id": image_ids[image["id"]]} for image in files]
        for each in content.get("annotations", []):
            ids = {"image_id": image_ids.get(each["image_id"], 0), "category_id": classes.get(each["category_id"], 0)}
            annotations.append({**each, **ids, "id": len(annotations) + 1})
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def names_recur(content: Content) -> bool:
    return len({image["file_name"] for image in content["images"]}) < len(content["images"])


def placed(files: Files, part: Split, split: str) -> Split:
    """The content of one of several files, its images named from the data folder on where they are found.

    Tasks and days often number their images anew: then names recur, and the images do not.
    """
    if look_for_images(files, part, split):
        for image, file in zip(part.content["images"], part.files, strict=True):
            image["file_name"] = Path(os.path.relpath(file, files.folder)).as_posix()
    return part


def refuse(files: Files, paths: list[Path], split: str) -> None:
    """Raises InputError: two files list the same image."""
    names = listed([str(path) for path in paths])
    if files.split_of(paths[0]) is None:
        raise InputError(
            f"Nothing in {names} tells which file is to be trained on, and they list the same images: put train or val "
            "into their names, or give --data one of them and --split 0.2."
        )
    raise InputError(
        f"Several COCO files seem to be the {split} split: {names}. They list the same images: move all but one "
        "elsewhere, or give --data a folder with one of them."
    )


def joined(files: Files, paths: list[Path], split: str) -> Split:
    """The split of several files, whose images are looked for where their names recur.

    Raises:
        InputError: a file is malformed, or two list the same image.
    """
    parts = [Split(path, files.folder, read_annotations(path)[0]) for path in paths]
    found = Split(paths[0], files.folder, together([part.content for part in parts]), derived=True)
    found.remarks.append(f"{split}: {len(paths)} files are taken together, such as {paths[0]}.")
    if not names_recur(found.content):
        return found
    parts = [placed(files, part, split) for part in parts]
    found.content = together([part.content for part in parts])
    found.remarks += [remark for part in parts for remark in part.remarks]
    if names_recur(found.content):
        refuse(files, paths, split)
    return found


def read_coco(files: Files, paths: list[Path], split: str) -> Split:
    """A split from its COCO files.

    Raises:
        InputError: a file cannot be used, or none of its images is there; those of a test split without annotations are
            not looked for.
    """
    single = len(paths) == 1
    found = Split(paths[0], files.folder, read_annotations(paths[0])[0]) if single else joined(files, paths, split)
    return found if split == "test" and not found.content.get("annotations") else find_images(files, found, split)
