"""Pictures of detections, ground truth beside them."""

import colorsys
from collections import Counter
from math import ceil

import cv2
import numpy as np
from mmengine.structures import InstanceData

from brs_detr.engine.inference.labels import class_text, place, score_text, shortened, text_size, write
from brs_detr.engine.inference.matching import FALSE, FOUND, IGNORED, MISSED, TRUE, match

Colour = tuple[int, int, int]

READABLE, ENLARGED = 480, 2400  # pixels: least length of a picture's shorter side; no image is enlarged beyond
FONT, FONTS_A_SIDE = 14, 90  # pixels: the smallest font; that of a large image is its longer side by this
LONGEST_LABEL = 0.35  # of the picture's width
GAP = 8  # pixels between two pictures
MASK_OPACITY = 0.5
GOLDEN = (5**0.5 - 1) / 2  # of a turn: the hues of consecutive classes are far apart, and no two are the same
SHADES = ((0.85, 0.9), (0.55, 1.0), (1.0, 0.6))  # saturation and value
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (120, 120, 120)
# Those of Okabe and Ito, which people with any colour vision tell apart.
COLOURS: dict[str, Colour] = {
    TRUE: (0, 158, 115), FOUND: (0, 158, 115), FALSE: (213, 94, 0), MISSED: (204, 121, 167), IGNORED: GREY,
}  # fmt: skip


def colour_of(label: int) -> Colour:
    """A class's RGB colour, the same in every picture."""
    red, green, blue = colorsys.hsv_to_rgb(0.6 + label * GOLDEN, *SHADES[label % len(SHADES)])
    return round(255 * red), round(255 * green), round(255 * blue)


def readable_on(colour: Colour) -> Colour:
    """Black or white, for text."""
    return BLACK if np.dot(colour, (0.299, 0.587, 0.114)) > 140 else WHITE


def tint(image: np.ndarray, masks: np.ndarray, colours: list[Colour]) -> np.ndarray:
    """A copy of the image (h, w, 3) whose pixels take on the colour of the masks (N, h, w) bool, the first on top."""
    tinted = image.copy()
    for mask, colour in reversed(list(zip(masks, colours, strict=True))):
        tinted[mask] = (MASK_OPACITY * np.array(colour) + (1 - MASK_OPACITY) * image[mask]).astype(image.dtype)
    return tinted


def texts_of(instances: InstanceData, classes: tuple[str, ...], font: int, width: int) -> list[str]:
    """Class and score of each object, within so many pixels."""
    scores = instances.scores.tolist() if "scores" in instances else [None] * len(instances)
    endings = ("" if score is None else f" {score_text(score)}" for score in scores)
    names = (class_text(classes[label], label) for label in instances.labels.tolist())
    return [shortened(name, ending, font, width) for name, ending in zip(names, endings, strict=True)]


def draw_labels(canvas: np.ndarray, boxes: np.ndarray, texts: list[str], colours: list[Colour], font: int) -> int:
    """Draw the texts of boxes (N, 4) in place, each with a line to its box where it is not beside it.

    Returns:
        How many had no room.
    """
    places = place(boxes, [text_size(text, font) for text in texts], (canvas.shape[1], canvas.shape[0]))
    for box, text, colour, rectangle in zip(boxes.tolist(), texts, colours, places, strict=True):
        if rectangle:
            x1, y1, x2, y2 = rectangle
            end = (min(max(box[0], x1), x2), min(max(box[1], y1), y2))
            start = (min(max(end[0], box[0]), box[2]), min(max(end[1], box[1]), box[3]))
            cv2.line(canvas, start, end, colour, max(1, font // 10), cv2.LINE_AA)
            cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), colour, cv2.FILLED)
            write(canvas, text, x1, y1, font, readable_on(colour))
    return places.count(None)


def strip(entries: list[tuple[str, Colour | None]], font: int) -> np.ndarray:
    """A line of text, a patch of colour before each entry that has one; as wide as it needs."""
    text_height = text_size("", font)[1]
    widths = [text_size(text, font)[0] + (font if colour else 0) + font // 2 for text, colour in entries]
    line = np.full((text_height + font // 2, sum(widths), 3), WHITE, np.uint8)
    left, top = 0, font // 4
    for (text, colour), width in zip(entries, widths, strict=True):
        if colour:
            cv2.rectangle(line, (left, top + font // 4), (left + font - 1, top + font // 4 + font - 1), colour, -1)
        write(line, text, left + (font if colour else 0), top, font, BLACK)
        left += width
    return line


def legend(kinds: list[str], of: tuple[str, ...]) -> list[tuple[str, Colour | None]]:
    """How many there are of each kind; a kind beyond the first two is named where there is one."""
    counts = Counter(kinds)
    return [(f"{counts[kind]} {kind}", COLOURS[kind]) for kind in of if counts[kind] or kind != IGNORED]


def extended(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image with white below and to its right, to be at least so large."""
    below, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=WHITE)


def panel(
    image: np.ndarray,
    instances: InstanceData,
    classes: tuple[str, ...],
    colours: list[Colour],
    title: list[tuple[str, Colour | None]],
) -> np.ndarray:
    """An image (h, w, 3), a small one enlarged, with its boxes and masks, below a strip with the title."""
    if "masks" in instances:
        image = tint(image, instances.masks.numpy(), colours)
    sides = image.shape[:2]
    factor = max(1, min(ceil(READABLE / min(sides)), ENLARGED // max(sides)))
    canvas = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    canvas = extended(canvas, READABLE, READABLE)
    font = max(FONT, max(canvas.shape) // FONTS_A_SIDE)
    boxes = (instances.bboxes.numpy() * factor).round().astype(int)
    for box, colour in reversed(list(zip(boxes.tolist(), colours, strict=True))):  # the best on top
        cv2.rectangle(canvas, box[:2], box[2:], colour, max(2, font // 6))
    texts = texts_of(instances, classes, font, int(LONGEST_LABEL * canvas.shape[1]))
    if unlabelled := draw_labels(canvas, boxes, texts, colours, font):
        title = [*title, (f"({unlabelled} without label)", None)]
    head = strip(title, font)
    width = max(head.shape[1], canvas.shape[1])
    return np.vstack([extended(head, 0, width), extended(canvas, 0, width)])


def draw(
    image: np.ndarray, predictions: InstanceData, truth: InstanceData | None, classes: tuple[str, ...]
) -> np.ndarray:
    """An RGB picture of an RGB image (h, w, 3): its predictions and, to their right, the truth if known.

    The colours are those of the classes; where the truth is known, they say what is true, false, found and missed
    (`match`), and a legend counts these.

    Args:
        predictions: ``bboxes`` (N, 4), x1 y1 x2 y2 in pixels, ``labels`` and ``scores`` (N,), best first; also
            ``masks`` (N, h, w) bool where the model has them.
        truth: ``bboxes`` and ``labels``, perhaps ``masks`` and ``crowd``.
    """
    if truth is None:
        colours = [colour_of(label) for label in predictions.labels.tolist()]
        return panel(image, predictions, classes, colours, [("prediction", None)])
    verdicts, fates = match(predictions, truth)
    panels = [
        panel(image, instances, classes, [COLOURS[kind] for kind in kinds], [(title, None), *legend(kinds, order)])
        for instances, kinds, title, order in (
            (predictions, verdicts, "prediction", (TRUE, FALSE, IGNORED)),
            (truth, fates, "ground truth", (FOUND, MISSED, IGNORED)),
        )
    ]
    gap = np.full((len(panels[0]), GAP, 3), WHITE, np.uint8)
    return np.hstack([panels[0], gap, panels[1]])
