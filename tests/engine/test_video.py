"""Frames of video files, and files that are none or break off."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from brs_detr.engine.inference.video import frames
from brs_detr.errors import InputError

COLOURS = [(20 * number, 255 - 20 * number, 60) for number in range(12)]  # RGB


def write_video(path: Path, code: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25, (64, 48))
    assert writer.isOpened()
    for colour in COLOURS:
        writer.write(np.full((48, 64, 3), colour[::-1], np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(("name", "code"), [("video.avi", "MJPG"), ("video.mp4", "mp4v")])
def test_frames(tmp_path: Path, name: str, code: str) -> None:
    read = list(frames(write_video(tmp_path / name, code)))
    assert len(read) == len(COLOURS)
    for frame, colour in zip(read, COLOURS, strict=True):
        assert frame.shape == (48, 64, 3)
        assert np.abs(frame.mean((0, 1)) - colour).max() < 8


def test_frames_are_read_when_asked_for(tmp_path: Path) -> None:
    video = frames(write_video(tmp_path / "video.avi"))
    next(video)
    video.close()
    assert list(video) == []


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.avi").write_bytes(b"")
    for name, sentence in (
        ("none.mp4", r"The video \S+none\.mp4 does not exist"),
        ("text.mp4", r"The video \S+text\.mp4 cannot be read"),
        ("empty.avi", r"The video \S+empty\.avi cannot be read"),
        ("", "is no file"),
    ):
        with pytest.raises(InputError, match=sentence):
            next(frames(tmp_path / name))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_video_that_breaks_off(tmp_path: Path, share: float) -> None:
    content = write_video(tmp_path / "video.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(content[: int(share * len(content))])
    read: list[np.ndarray] = []
    with pytest.raises(InputError, match=r"half\.avi (breaks off after \d+ of 12 frames|cannot be read)"):
        read.extend(frames(tmp_path / "half.avi"))
    assert len(read) < len(COLOURS)


def test_an_mp4_without_its_end(tmp_path: Path) -> None:
    content = write_video(tmp_path / "video.mp4", "mp4v").read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"half\.mp4 (breaks off|cannot be read)"):
        list(frames(tmp_path / "half.mp4"))
