"""What may be an image, and what may not."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from brs_detr.data.images import read_image
from brs_detr.engine.inference.sources import find_images, pixels_of
from brs_detr.errors import InputError

PIXELS = np.random.RandomState(0).randint(0, 256, (40, 60, 3), np.uint8)
GREY = PIXELS[..., 0]

SAME = {
    "array": PIXELS,
    "floats": PIXELS / 255,
    "half floats": (PIXELS / 255).astype(np.float32),
    "RGBA": np.dstack([PIXELS, GREY]),
    "mirrored twice": PIXELS[:, ::-1][:, ::-1],
    "tensor": torch.from_numpy(PIXELS).permute(2, 0, 1),
    "tensor of floats": torch.from_numpy(PIXELS).permute(2, 0, 1) / 255,
    "tensor with gradient": (torch.from_numpy(PIXELS).permute(2, 0, 1) / 255).requires_grad_(),
    "PIL": Image.fromarray(PIXELS),
    "PIL with transparency": Image.fromarray(np.dstack([PIXELS, GREY])),
}
IN_GREY = {
    "array": GREY,
    "one channel": GREY[..., None],
    "tensor": torch.from_numpy(GREY.copy())[None],
    "PIL": Image.fromarray(GREY),
    "16 bits": Image.fromarray(GREY.astype(np.uint16) * 257),
    "transparency": Image.fromarray(np.dstack([GREY, GREY])),
}
WRONG = {
    "no image": (3.5, "An image cannot be float: give a file, an array"),
    "None": (None, "An image cannot be NoneType"),
    "line": (PIXELS[0, 0], r"An array of the shape \(3,\) is no image"),
    "channels first": (PIXELS.transpose(2, 0, 1), r"shape \(3, 40, 60\) is no image: give \(height, width, 3\)"),
    "two channels": (PIXELS[..., :2], r"shape \(40, 60, 2\) is no image"),
    "batch": (PIXELS[None], r"shape \(1, 40, 60, 3\) is no image"),
    "empty": (PIXELS[:0], "An image of 60 x 0 pixels is empty"),
    "16 bits": (PIXELS.astype(np.uint16), r"are uint16: give uint8, or floats in \[0, 1\]"),
    "truth values": (PIXELS > 9, "are bool: give uint8"),
    "words": (np.array([["a"]]), "are <U1: give uint8"),
    "NaN": (np.where(PIXELS > 200, np.nan, 0.5), "NaN or infinite"),
    "infinite": (np.where(PIXELS > 200, np.inf, 0.5), "NaN or infinite"),
    "floats up to 255": (PIXELS.astype(float), "are floats from 0 to 255: give uint8"),
    "negative": (PIXELS / 255 - 0.5, "are floats from -0.5 to 0.5"),
    "channels last": (torch.from_numpy(PIXELS), r"A tensor of the shape \(40, 60, 3\) is no image: give \(3, height"),
    "batch of tensors": (torch.zeros(1, 3, 8, 8), r"shape \(1, 3, 8, 8\) is no image"),
    "long": (torch.zeros(3, 8, 8, dtype=torch.long), "are int64: give uint8"),
    "NaN tensor": (torch.full((3, 8, 8), torch.nan), "NaN or infinite"),
    "elongated": (np.zeros((1, 300, 3), np.uint8), "The image has 300 x 1 pixels: one side may be at most 250"),
    "no scale": (Image.new("F", (8, 8)), "A PIL image of the mode F does not say what is white"),
    "32 bits": (Image.new("I", (8, 8)), "A PIL image of the mode I does not say"),
    "empty PIL": (Image.new("RGB", (0, 8)), "An image of 0 x 8 pixels is empty"),
    "missing": ("nowhere.png", r"The image nowhere\.png does not exist"),
    "no name": (b"nowhere.png", "An image cannot be bytes"),
}


@pytest.mark.parametrize("kind", SAME)
def test_colours(kind: str) -> None:
    assert np.array_equal(pixels_of(SAME[kind]), PIXELS)


@pytest.mark.parametrize("kind", IN_GREY)
def test_grey(kind: str) -> None:
    assert np.array_equal(pixels_of(IN_GREY[kind]), np.dstack([GREY] * 3))


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_image(kind: str) -> None:
    given, sentence = WRONG[kind]
    with pytest.raises(InputError, match=sentence):
        pixels_of(given)


def test_pixels_are_kept_when_a_buffer_is_filled_anew() -> None:
    buffer = PIXELS.copy()
    pixels = pixels_of(buffer)
    buffer[:] = 0
    assert np.array_equal(pixels, PIXELS)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_opened_file_is_as_its_path(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(pixels_of(tmp_path / "turned.png"), read_image(tmp_path / "turned.png"))
    assert np.array_equal(pixels_of(str(tmp_path / "turned.png")), pixels_of(Image.open(tmp_path / "turned.png")))


def test_16_bits_are_as_in_a_file(tmp_path: Path) -> None:
    deep = np.random.RandomState(0).randint(0, 2**16, (20, 30), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    ours = pixels_of(Image.open(tmp_path / "deep.png")).astype(int)
    assert np.abs(ours - pixels_of(tmp_path / "deep.png")).max() <= 1


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    Image.fromarray(PIXELS).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    for given, sentence in (
        (tmp_path / "text.png", r"The image \S+text\.png cannot be read: it is damaged or not an image"),
        (tmp_path / "half.png", r"The image \S+half\.png cannot be read"),
        (Image.open(tmp_path / "half.png"), r"The PIL image \S+half\.png cannot be read"),
        (tmp_path, "cannot be read: it is no file"),
    ):
        with pytest.raises(InputError, match=sentence):
            pixels_of(given)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist: give an image file or a folder"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"holds no images \(\.bmp, "):
        find_images(tmp_path)
    for name in ("b.PNG", "a.jpg", "inside/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [os.path.relpath(path, tmp_path) for path in find_images(tmp_path)] == ["a.jpg", "b.PNG", "inside/c.webp"]


def test_links_lead_on_and_hidden_files_stay_out(tmp_path: Path) -> None:
    """As in a training: macOS leaves a ._a.png beside a.png on other systems' disks."""
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    for path in (folder / "a.png", folder / "._a.png", folder / ".cache" / "b.png", elsewhere / "c.png"):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("")
    (elsewhere / "last_checkpoint").write_text("")  # a training passes over work directories
    (folder / "link").symlink_to(elsewhere)
    (folder / "circle").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "nowhere")
    assert find_images(folder) == [folder / "a.png", folder / "link" / "c.png"]


@pytest.mark.parametrize("closed", [".", "inside"])
def test_a_folder_that_may_not_be_read(closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beside others with images."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "a.png").write_text("")

    def scandir(path: str | os.PathLike[str]) -> Any:  # root, as whom tests may run, may read everything
        if Path(path) == tmp_path / closed:
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    listing = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=f"The folder {tmp_path / closed} cannot be read: change its permissions"):
        find_images(tmp_path)
