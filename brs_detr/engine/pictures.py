"""Pictures of detections, ground truth beside them."""

from math import ceil

import cv2
import matplotlib
import numpy as np
from mmengine.structures import InstanceData

READABLE = 480  # pixels: least length of a picture's shorter side, so that labels fit
TITLE = 30  # pixels: height of the strip above
MASK_OPACITY = 0.5
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def colour_of(label: int) -> tuple[int, int, int]:
    """A class's RGB colour, the same in every picture."""
    red, green, blue, _ = (int(255 * part) for part in matplotlib.colormaps["tab10"](label % 10))
    return red, green, blue


def tint(image: np.ndarray, masks: np.ndarray, labels: list[int]) -> np.ndarray:
    """A copy of the image (h, w, 3) whose pixels take on the colour of the masks (N, h, w) bool, the first on top."""
    tinted = image.copy()
    for mask, label in reversed(list(zip(masks, labels, strict=True))):
        colour = np.array(colour_of(label))
        tinted[mask] = (MASK_OPACITY * colour + (1 - MASK_OPACITY) * image[mask]).astype(image.dtype)
    return tinted


def label_box(image: np.ndarray, box: list[float], text: str, colour: tuple[int, int, int]) -> None:
    """Draw a box (x1 y1 x2 y2) and its text above it, or inside where the image ends; in place."""
    x1, y1, x2, y2 = (round(side) for side in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)
    (width, height), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    left = min(max(x1, 0), image.shape[1] - width - 4)
    top = y1 - height - 6 if y1 >= height + 6 else max(y1, 0)
    cv2.rectangle(image, (left, top), (left + width + 4, top + height + 6), colour, cv2.FILLED)
    cv2.putText(image, text, (left + 2, top + height + 2), FONT, FONT_SCALE, WHITE, 1, cv2.LINE_AA)


def panel(image: np.ndarray, instances: InstanceData, classes: tuple[str, ...], title: str) -> np.ndarray:
    """A small image (h, w, 3) enlarged, with its boxes and masks, below a strip with a title."""
    if "masks" in instances:
        image = tint(image, instances.masks.numpy(), instances.labels.tolist())
    factor = max(1, ceil(READABLE / min(image.shape[:2])))
    canvas = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    scores = instances.scores.tolist() if "scores" in instances else [None] * len(instances)
    boxes, labels = (instances.bboxes * factor).tolist(), instances.labels.tolist()
    for box, label, score in reversed(list(zip(boxes, labels, scores, strict=True))):  # the best on top
        text = classes[label] if score is None else f"{classes[label]} {score:.2f}"
        label_box(canvas, box, text, colour_of(label))
    strip = np.full((TITLE, canvas.shape[1], 3), WHITE, np.uint8)
    cv2.putText(strip, title, (6, TITLE - 10), FONT, 0.6, BLACK, 1, cv2.LINE_AA)
    return np.vstack([strip, canvas])


def draw(
    image: np.ndarray, predictions: InstanceData, truth: InstanceData | None, classes: tuple[str, ...]
) -> np.ndarray:
    """An RGB picture of an RGB image (h, w, 3): its predictions and, to their right, the truth if known.

    Args:
        predictions: ``bboxes`` (N, 4), x1 y1 x2 y2 in pixels, ``labels`` and ``scores`` (N,), best first; also
            ``masks`` (N, h, w) bool where the model has them.
        truth: ``bboxes`` and ``labels``, perhaps ``masks``.
    """
    panels = [panel(image, predictions, classes, "prediction")]
    if truth is not None:
        gap = np.full((len(panels[0]), 8, 3), WHITE, np.uint8)
        panels += [gap, panel(image, truth, classes, "ground truth")]
    return np.hstack(panels)
