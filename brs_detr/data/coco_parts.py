"""A split from its COCO file, or from several such as one a day or one an image."""

from pathlib import Path

from brs_detr.data.coco_file import Content, listed, read_annotations
from brs_detr.data.image_folders import find_images
from brs_detr.data.layouts import Files, Split
from brs_detr.errors import InputError


def together(paths: list[Path]) -> Content | None:
    """One content of files whose images differ, with its own ids; classes are one by name. None where images recur.

    What refers to an image or a class that its file does not list refers to id 0, which none has.

    Raises:
        InputError: a file is malformed.
    """
    images: list[Content] = []
    annotations: list[Content] = []
    numbers: dict[str, int] = {}
    for path in paths:
        content, _ = read_annotations(path)
        first, files = len(images) + 1, content["images"]
        image_ids = {image["id"]: number for number, image in enumerate(files, first)}
        classes = {each["id"]: numbers.setdefault(each["name"], len(numbers) + 1) for each in content["categories"]}
        images += [{**image, "id": image_ids[image["id"]]} for image in files]
        for each in content.get("annotations", []):
            ids = {"image_id": image_ids.get(each["image_id"], 0), "category_id": classes.get(each["category_id"], 0)}
            annotations.append({**each, **ids, "id": len(annotations) + 1})
    if len({image["file_name"] for image in images}) < len(images):
        return None
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def joined(files: Files, paths: list[Path], split: str) -> Content:
    """The content of all files of a split.

    Raises:
        InputError: a file is malformed, or two list the same image.
    """
    if len(paths) == 1:
        return read_annotations(paths[0])[0]
    if content := together(paths):
        return content
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


def read_coco(files: Files, paths: list[Path], split: str) -> Split:
    """A split from its COCO files.

    Raises:
        InputError: a file cannot be used, or none of its images is there; those of a test split without annotations are
            not looked for.
    """
    found = Split(paths[0], files.folder, joined(files, paths, split), derived=len(paths) > 1)
    found.remarks += [f"{split}: {len(paths)} files are taken together, such as {paths[0]}."] * found.derived
    return found if split == "test" and not found.content.get("annotations") else find_images(files, found, split)
