"""How an image becomes the input of a graph, as the config's test pipeline has it: said in metadata, and done here."""

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.model import ImgDataPreprocessor

from brs_detr.engine.setup import pipelines
from brs_detr.errors import InputError

WITHOUT_PIXELS = {"LoadAnnotations", "PackDetInputs"}
POSSIBLE = range(pipelines.LEAST_SIDE, 8193)  # sides of an input; an image of more has no memory
LOADING = {"LoadImage", "LoadImageFromFile"}


@dataclass(frozen=True)
class Preprocessing:
    """Resize an 8-bit image, keeping its shape or not, normalise it, pad it at its right and lower side.

    width, height: of the input. keep_ratio: fit the image into it, rather than fill it. channels: "RGB" or "BGR", the
    order of the input's channels, of mean and std. pad_value: after normalising.
    """

    width: int
    height: int
    keep_ratio: bool
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad_value: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def turned(self) -> str | None:
        """The `--size` for images whose longer side is the input's shorter one; None where this input is theirs, too.

        mmcv fits the longer side of an image into the longer one of its scale, whichever is the height, where an input
        is as high as it is: it makes such images smaller.
        """
        return f"{self.height}x{self.width}" if self.keep_ratio and self.width != self.height else None

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """The input (3, H, W) float32 of pixels (h, w, 3) uint8 RGB; the height and width of the image within it."""
        height, width = pixels.shape[:2]
        scale = min(self.width / width, self.height / height)
        fitting = int(width * scale + 0.5), int(height * scale + 0.5)  # as mmcv rounds
        resized = cv2.resize(pixels, fitting if self.keep_ratio else (self.width, self.height))
        ordered = resized if self.channels == "RGB" else resized[..., ::-1]
        normalised = (ordered.astype(np.float32) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        padded = np.full((3, self.height, self.width), self.pad_value, dtype=np.float32)
        padded[:, : resized.shape[0], : resized.shape[1]] = normalised.transpose(2, 0, 1)
        return padded, resized.shape[:2]


def preprocessing_of(config: Config, preprocessor: ImgDataPreprocessor, size: str | None) -> Preprocessing:
    """What the config's test pipeline and its model do to an image, for an input of this size (`N` or `WxH`).

    size: by default the one that the pipeline resizes to, rounded up to what the model takes.

    Raises:
        InputError: the model does not take the size, or the pipeline does more than resizing.
    """
    steps = [step for holder in pipelines.holders(config, "test") for step in pipelines.steps(holder.pipeline)]
    resizing = [step for step in steps if step["type"] == "Resize"]
    others = {step["type"] for step in steps} - WITHOUT_PIXELS - LOADING - {"Resize"}
    if others or len(resizing) != 1:
        what = min(others) if others else f"{len(resizing)} steps of Resize"
        raise InputError(f"The test pipeline of {config.filename} has {what}: export takes one that resizes, no more.")
    width, height = input_size(config, size, preprocessor.pad_size_divisor)
    normalised = preprocessor._enable_normalize
    return Preprocessing(
        width,
        height,
        keep_ratio=bool(resizing[0].get("keep_ratio")),
        channels="RGB" if preprocessor._channel_conversion else "BGR",
        mean=tuple(preprocessor.mean.flatten().tolist()) if normalised else (0.0, 0.0, 0.0),
        std=tuple(preprocessor.std.flatten().tolist()) if normalised else (1.0, 1.0, 1.0),
        pad_value=float(preprocessor.pad_value),
    )


def input_size(config: Config, size: str | None, divisor: int) -> tuple[int, int]:
    """Width and height of the input.

    Raises:
        InputError: it is no size, or none that the model takes.
    """
    given = parsed(size) if size else pipelines.test_size(config)
    if given is None:
        raise InputError(f"The test pipeline of {config.filename} names no size: give one with --size.")
    width, height = (-(-side // divisor) * divisor for side in given)
    if size and (width, height) != given:
        raise InputError(
            f"--size {size}: the model takes sides that are multiples of {divisor}, such as {width}x{height}."
        )
    return width, height


def parsed(size: str) -> tuple[int, int]:
    """Width and height of ``N`` or ``WxH``.

    Raises:
        InputError: it is neither.
    """
    sides = size.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) in POSSIBLE for side in sides):
        raise InputError(f"--size {size}: give {POSSIBLE[0]} to {POSSIBLE[-1]} pixels, as N or WIDTHxHEIGHT.")
    return int(sides[0]), int(sides[-1])
