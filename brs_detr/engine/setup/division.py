"""`--split` at `--resume`: whether images that the training has learnt from would be validated on."""

from collections.abc import Iterable
from pathlib import Path

from brs_detr.data.coco_file import read_lists
from brs_detr.data.layouts import Split
from brs_detr.engine.running.batches import counted
from brs_detr.engine.running.work_dir import CONVERTED
from brs_detr.errors import InputError


def check_division(splits: dict[str, Split], folder: Path) -> None:
    """Look whether images are divided as they were before.

    folder: the work directory of the training that is continued.

    Raises:
        InputError: some are to be validated on that were trained on, and were not validated on as well.
    """
    trained, validated = divided_before(folder)
    images = {image["file_name"] for image in splits["val"].content["images"]}
    if learnt := sorted(images & trained - validated):
        raise InputError(
            f"--split would validate on {counted(len(learnt), 'image')} that the training in {folder} has learnt from, "
            f"such as {learnt[0]}: give --data, --split and --seed as at its start, or continue with its own division "
            f"by train.py {folder} --resume, without --data."
        )


def divided_before(folder: Path) -> tuple[set[str], set[str]]:
    """The images that a training has divided into those to train on and to validate on; none where it has not.

    The files of every division stay. That of the training is named by its config, as the last of its starts has noted
    it beside its log; an evaluation logs here, too, and its config may name none.
    """
    train, val = (list((folder / CONVERTED).glob(f"{split}-*.json")) for split in ("train", "val"))
    for log in sorted(folder.glob("*/vis_data/scalars.json"), reverse=True):
        noted = log.with_name("config.py")
        text = noted.read_text(encoding="utf-8", errors="replace") if noted.is_file() else ""
        if any(path.name in text for path in train):
            return _images(train, text), _images(val, text)
    return set(), set()


def _images(paths: Iterable[Path], text: str) -> set[str]:
    """The names of images in those COCO files that a text names."""
    named = (read_lists(path)[0]["images"] for path in paths if path.name in text)
    return {image["file_name"] for images in named for image in images}
