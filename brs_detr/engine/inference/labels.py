"""Labels of boxes: what they say, and where each stands so that it covers no other and little of the objects."""

from bisect import bisect_right
from functools import cache
from itertools import count

import cv2
import numpy as np

from brs_detr.errors import printable

FONT, WEIGHT = cv2.FontFace("uni"), 400  # OpenCV's own font of most scripts in use, Chinese among them
ELLIPSIS = "…"
FAR = 0.05  # as bad as the distance of one label's height: to hide this share of an object
WORST = 0.6  # a label that hides more than this share of objects, or is as bad, is left out


def score_text(score: float) -> str:
    """Two decimals and as many more as tell it from 0 and 1: 0.98, 0.0123, 0.9996."""
    if score < 0.1:
        return f"{score:.3g}"
    texts = (f"{score:.{digits}f}" for digits in count(2))
    return next(text for text in texts if score >= 1 or float(text) < 1)


@cache
def _glyph(sign: str) -> bytes:
    image = np.zeros((32, 32), np.uint8)
    cv2.putText(image, sign, (4, 24), 255, FONT, 20, WEIGHT)
    return image.tobytes()


def class_text(name: str, label: int) -> str:
    """The name of a class, or its number where the fonts lack a character, which would be drawn as "?"."""
    name = printable(name)
    return f"#{label}" if any(sign != "?" and _glyph(sign) == _glyph("?") for sign in name) else name


def text_size(text: str, font: int) -> tuple[int, int]:
    """Width and height of a label in pixels, for a font of so many pixels."""
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), FONT, font, WEIGHT)
    return width + font // 2, round(1.4 * font)


def shortened(name: str, ending: str, font: int, width: int) -> str:
    """The text `name + ending`, its name cut where it is wider than `width` pixels."""
    if text_size(name + ending, font)[0] <= width:
        return name + ending
    lengths = range(1, len(name))
    kept = bisect_right(lengths, width, key=lambda length: text_size(name[:length] + ELLIPSIS + ending, font)[0])
    return name[:kept] + ELLIPSIS + ending


def write(image: np.ndarray, text: str, left: int, top: int, font: int, colour: tuple[int, int, int]) -> None:
    """Draw a label's text in place; (left, top) is the corner of the rectangle that `text_size` describes."""
    cv2.putText(image, text, (left + font // 4, top + round(1.05 * font)), colour, FONT, font, WEIGHT)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas (N, M) that rectangles (N, 4) and (M, 4), x1 y1 x2 y2, have in common."""
    near = np.maximum(first[:, None, :2], second[None, :, :2])
    far = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return (far - near).clip(0).prod(-1)


def candidates(box: np.ndarray, size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """Where a label (width, height) may stand in a canvas (width, height), (N, 4): the usual place first.

    Above and below the box, at its sides, inside along its edges, and then further away.
    """
    (x1, y1, x2, y2), (w, h) = box, size
    across, down = (x1, x2 - w, (x1 + x2 - w) / 2), (y1, y2 - h, (y1 + y2 - h) / 2)
    places = [(x, y) for y in (y1 - h, y2) for x in across]
    places += [(x, y) for x in (x2, x1 - w) for y in down]
    places += [(x, y) for y in (y1, y2 - h) for x in across]
    places += [(x1 + i * w, y1 + j * h) for j in range(-8, 9) for i in range(-2, 3)]
    corners = np.array(places).clip(0, np.array(canvas) - size).round()
    return np.hstack([corners, corners + size])


def place(
    boxes: np.ndarray, sizes: list[tuple[int, int]], canvas: tuple[int, int]
) -> list[tuple[int, int, int, int] | None]:
    """Rectangles, x1 y1 x2 y2 in whole pixels, of the labels of boxes (N, 4); of several, the first chooses first.

    None has a pixel of another; each hides as little as it can of the objects, and stays near its own. One for which
    there is no such place is None.
    """
    areas = overlaps(boxes, boxes).diagonal().clip(1)
    taken = np.zeros((0, 4))
    placed: list[tuple[int, int, int, int] | None] = []
    for box, size in zip(boxes, sizes, strict=True):
        rectangles = candidates(box, size, canvas)
        apart = np.maximum(rectangles[:, :2] - box[2:], box[:2] - rectangles[:, 2:]).clip(0)
        cost = (overlaps(rectangles, boxes) / areas).sum(1) + FAR * apart.max(1) / size[1]
        cost[overlaps(rectangles, taken).any(1)] = np.inf
        best = int(cost.argmin())
        if cost[best] > WORST:
            placed.append(None)
            continue
        taken = np.vstack([taken, rectangles[best]])
        x1, y1, x2, y2 = rectangles[best].astype(int).tolist()
        placed.append((x1, y1, x2, y2))
    return placed
