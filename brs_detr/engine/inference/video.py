"""The frames of a video file, one after another, and a sentence where they cannot be read."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from brs_detr.errors import InputError

COMPLETE = 0.98  # of the frames, or of the time, that a file claims: many only estimate them


def frames(path: str | os.PathLike[str]) -> Generator[np.ndarray, None, None]:
    """RGB frames (h, w, 3) uint8, upright, each read when it is asked for.

    Raises:
        InputError: the file is no video; or it breaks off, after the last frame that can be read.
    """
    with opened(Path(path)) as capture:
        read, last = 0, 0.0
        while (frame := capture.read()[1]) is not None:
            read, last = read + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        check_end(Path(path), capture, read, last)


@contextmanager
def opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """The decoder of a file, closed at the end whatever happens.

    Raises:
        InputError: it is no video.
    """
    if not path.is_file():
        raise InputError(f"The video {path} {'is no file' if path.exists() else 'does not exist'}.")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise InputError(f"The video {path} cannot be read: it is damaged, or of a kind that OpenCV cannot read.")
        yield capture
    finally:
        capture.release()


def check_end(path: Path, capture: cv2.VideoCapture, read: int, last: float) -> None:
    """Whether a video was read to its end: by its frames or, where these vary in length, by its time.

    Args:
        read: the number of frames.
        last: when the last one is shown, in seconds.

    Raises:
        InputError: it breaks off.
    """
    claimed, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    by_time = last * rate + 1 if read else 0.0
    if not read or max(read, by_time) < COMPLETE * claimed:
        of = f" of {claimed:.0f}" if claimed > 0 else ""
        raise InputError(
            f"The video {path} breaks off after {read}{of} frames: the file is damaged or incomplete; copy or record "
            "it again."
        )
