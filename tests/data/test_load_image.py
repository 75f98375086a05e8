"""Images of any kind, read the same by training and prediction; one that cannot be read is named, also by a worker."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from brs_detr.data import LoadImage
from brs_detr.data.images import MOST_ELONGATED, ORIENTATION, open_all, read_image, size_of
from brs_detr.errors import InputError, sentence

PIXELS = cv2.resize(np.random.RandomState(0).randint(0, 255, (5, 8, 3), np.uint8), (80, 50))  # RGB
PICTURE = Image.fromarray(PIXELS)


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def deep(image: np.ndarray) -> np.ndarray:
    return image.astype(np.uint16) * 257


GREY, JPEG, PNG = PICTURE.convert("L"), encode(PICTURE, "JPEG"), encode(PICTURE, "PNG")
KINDS = {
    "grey": encode(GREY, "PNG"),
    "grey and alpha": encode(PICTURE.convert("LA"), "PNG"),
    "RGBA": encode(PICTURE.convert("RGBA"), "PNG"),
    "palette": encode(PICTURE.convert("P"), "PNG"),
    "1 bit": encode(PICTURE.convert("1"), "PNG"),
    "16 bit grey": cv2.imencode(".png", deep(np.asarray(GREY)))[1].tobytes(),
    "16 bit RGB": cv2.imencode(".png", deep(PIXELS[..., ::-1]))[1].tobytes(),
    "grey JPEG": encode(GREY, "JPEG"),
    "CMYK JPEG": encode(PICTURE.convert("CMYK"), "JPEG"),
    "progressive JPEG": encode(PICTURE, "JPEG", progressive=True),
    "1 bit TIFF": encode(PICTURE.convert("1"), "TIFF"),
    "16 bit TIFF": cv2.imencode(".tif", deep(PIXELS[..., ::-1]))[1].tobytes(),
    "WebP": encode(PICTURE, "WEBP", lossless=True),
    "BMP": encode(PICTURE, "BMP"),
}
BROKEN = {
    "empty": b"",
    "text": b"no image at all",
    "HTML": b"<!DOCTYPE html><html><body>404</body></html>",
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "a JPEG without its end": JPEG[:-2],
    "a JPEG's first bytes": JPEG[:20],
    "half a PNG": PNG[: len(PNG) // 2],
    "a PNG without its end": PNG[:-12],
    "a PNG with a flipped byte": PNG[:99] + bytes([PNG[99] ^ 255]) + PNG[100:],
    "no width": png_header(0, 10),
    "a huge header": png_header(100_000, 100_000),
    "a wide header": png_header(2_000_000_000, 1),
    "floats": encode(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"),
    "half a WebP": KINDS["WebP"][: len(KINDS["WebP"]) // 2],
    "half a BMP": KINDS["BMP"][: len(KINDS["BMP"]) // 2],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_images(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(KINDS[kind])
    pixels = LoadImage()({"img_path": str(path)})["img"]
    assert pixels.dtype == np.uint8
    assert pixels.shape == (50, 80, 3)
    assert np.array_equal(read_image(path), pixels[..., ::-1])
    expected = np.dstack([np.asarray(GREY)] * 3) if "grey" in kind or "1 bit" in kind else PIXELS
    assert abs(blurred(pixels[..., ::-1]) - blurred(expected)).mean() < 10


def blurred(pixels: np.ndarray) -> np.ndarray:
    """Dots of dithering become shades."""
    return cv2.blur(pixels.astype(np.float32), (15, 15))


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(BROKEN[kind])
    with pytest.raises(InputError, match=r"The image .*picture\.png cannot be read: replace the file, or remove it"):
        LoadImage()({"img_path": str(path)})
    with pytest.raises(InputError, match=r"The image .*picture\.png cannot be read: it is damaged or not an image"):
        read_image(path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(InputError, match=f"The image {path} cannot be read"):
            LoadImage()({"img_path": str(path)})


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image_upright(tmp_path: Path, orientation: int) -> None:
    """Boxes refer to the upright image: so do mmdet, Detectron2 and annotation tools that show it upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "picture.jpg"
    path.write_bytes(encode(PICTURE, "JPEG", exif=exif, quality=95))
    pixels = read_image(path)
    assert pixels.shape == ((50, 80, 3) if orientation < 5 else (80, 50, 3))
    assert np.array_equal(LoadImage()({"img_path": str(path)})["img"][..., ::-1], pixels)
    turned = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, -1),
        7: np.rot90(PIXELS, -1)[:, ::-1][::-1, ::-1],
        8: np.rot90(PIXELS),
    }
    assert abs(pixels.astype(float) - turned[orientation]).mean() < 6


EXIF = Image.Exif()
EXIF[ORIENTATION] = 6
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
TURNED = {
    "EXIF": encode(PICTURE, "JPEG", exif=EXIF),
    "EXIF of a PNG": encode(PICTURE, "PNG", exif=EXIF),
    "XMP": encode(PICTURE, "JPEG", xmp=XMP),
    "XMP of a WebP": encode(PICTURE, "WEBP", xmp=XMP),
    "XMP beside EXIF": encode(PICTURE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + bytes(6), xmp=XMP),
    "TIFF": encode(PICTURE, "TIFF", tiffinfo={ORIENTATION: 6}),
    "broken EXIF": encode(PICTURE, "JPEG", exif=b"Exif\0\0no EXIF data"),
}


@pytest.mark.parametrize("kind", TURNED)
def test_the_size_is_that_of_the_pixels(tmp_path: Path, kind: str) -> None:
    """YOLO's boxes are parts of it."""
    path = tmp_path / "picture"
    path.write_bytes(TURNED[kind])
    height, width = read_image(path).shape[:2]
    assert (width < height) == (kind in ("EXIF", "EXIF of a PNG", "TIFF"))
    assert size_of(path) == (width, height)


def test_the_size_of_an_image_that_pillow_finds_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = tmp_path / "picture"
    path.write_bytes(TURNED["EXIF"])
    assert size_of(path) == read_image(path).shape[1::-1]


@pytest.mark.parametrize(("width", "height"), [(5000, 1), (1, 5000), (20000, 8), (MOST_ELONGATED + 1, 1)])
def test_too_elongated_images(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "strip.png"
    Image.new("RGB", (width, height)).save(path)
    for read in (read_image, lambda path: LoadImage()({"img_path": str(path)})):
        with pytest.raises(InputError, match=rf"strip\.png has {width} x {height} pixels: one side may be at most 250"):
            read(path)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (MOST_ELONGATED, 1), (2, 500), (5000, 20)])
def test_odd_sides_that_can_be_resized(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "strip.png"
    Image.new("RGB", (width, height)).save(path)
    assert read_image(path).shape == (height, width, 3)


def test_opening_all(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = {"good": JPEG, "broken": BROKEN["HTML"], "large": PNG, "turned": encode(PICTURE, "JPEG", exif=exif)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    sizes = {"good": (80, 50), "broken": (80, 50), "large": (160, 100), "turned": (80, 50)}
    opened: list[None] = []
    unreadable, resized, _ = open_all(
        [(tmp_path / name, *size) for name, size in sizes.items()], lambda: opened.append(None)
    )
    assert unreadable == [f"The image {tmp_path}/broken cannot be read: it is damaged or not an image."]
    assert resized == [
        f"{tmp_path}/large has 80 x 50 pixels instead of 160 x 100",
        f"{tmp_path}/turned has 50 x 80 pixels instead of 80 x 50, perhaps since it is turned as its EXIF data say",
    ]
    assert len(opened) == 4


class Folder(list):
    """A data set of image paths."""

    def __getitem__(self, index: int) -> np.ndarray:
        return LoadImage()({"img_path": super().__getitem__(index)})["img"]


def test_a_worker_sends_the_sentence(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("no image")
    with pytest.raises(InputError) as caught:
        next(iter(DataLoader(Folder([str(path)]), num_workers=1)))
    assert sentence(caught.value) == (
        f"The image {path} cannot be read: replace the file, or remove it from the annotations."
    )
