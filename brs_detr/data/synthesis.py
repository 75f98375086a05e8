"""Images of handwritten digits on photographs, from what scikit-learn ships: no download.

All arithmetic on pixels is in integers and all chance comes from numpy's frozen RandomState, so a seed means
the same images on every machine.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.random import RandomState
from sklearn.datasets import load_digits, load_sample_images

INK = 80  # darkness (of 255) of a scan from which a pixel belongs to the digit
PAPER = 56  # darkness below which a scan is transparent; above, opacity rises twice as fast as darkness
CONTRAST = 110  # least difference in brightness between a digit and what it covers
SMALLEST, LARGEST = 0.25, 0.5  # height of a digit, as a part of the image
EMPTY = 0.04  # part of the images that show no digit
MOST_DIGITS = 8
PLACES = 20  # where a digit is tried before it is left out


@dataclass(frozen=True)
class Digit:
    """One digit of an image: its class, the tight box x, y, width, height in pixels, and its silhouette.

    ink: (height, width) bool, which pixels of the box belong to the digit.
    """

    label: int
    box: tuple[int, int, int, int]
    ink: np.ndarray = field(compare=False)

    def mask(self, size: int) -> np.ndarray:
        """The silhouette in its image, (size, size) uint8 of 0 and 1."""
        x, y, width, height = self.box
        mask = np.zeros((size, size), np.uint8)
        mask[y : y + height, x : x + width] = self.ink
        return mask


@dataclass(frozen=True)
class Scans:
    """Handwritten digits, (N, 8, 8) uint8 darkness, and their labels (N,)."""

    darkness: np.ndarray
    labels: np.ndarray


def load_scans() -> Scans:
    """The 1,797 scans of scikit-learn's digits data set."""
    digits = load_digits()
    return Scans((digits.images * 15).astype(np.uint8), digits.target)  # from 0 .. 16


def split_scans(scans: Scans, parts: tuple[float, ...], random: RandomState) -> list[Scans]:
    """Disjoint random shares of the scans, in the proportions of ``parts``."""
    order = random.permutation(len(scans.labels))
    ends = (np.cumsum(parts) / sum(parts) * len(order)).astype(int)[:-1]
    return [Scans(scans.darkness[share], scans.labels[share]) for share in np.split(order, ends)]


def load_photographs() -> list[np.ndarray]:
    """The two sample photographs, (427, 640, 3) uint8 each."""
    return list(load_sample_images().images)


def random_crop(photographs: list[np.ndarray], size: int, random: RandomState) -> np.ndarray:
    """A square piece of a photograph, a third to the whole of its height, resized to (size, size, 3)."""
    photograph = photographs[random.randint(len(photographs))]
    height, width = photograph.shape[:2]
    side = random.randint(height // 3, height + 1)
    top, left = random.randint(height - side + 1), random.randint(width - side + 1)
    crop = photograph[top : top + side, left : left + side]
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)


def random_stamp(scans: Scans, size: int, random: RandomState) -> tuple[np.ndarray, int]:
    """A scan enlarged to a random height and aspect, cut to its ink: darkness (h, w) uint8, and its label."""
    index = random.randint(len(scans.labels))
    height = random.randint(int(SMALLEST * size), int(LARGEST * size) + 1)
    width = height * random.randint(70, 111) // 100
    stamp = cv2.resize(scans.darkness[index], (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    rows, columns = np.nonzero(stamp >= INK)
    stamp = stamp[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return stamp, int(scans.labels[index])


def contrasting_colour(background: np.ndarray, random: RandomState) -> np.ndarray:
    """A random colour, int64 (3,), whose brightness differs from that of the (h, w, 3) background."""
    brightness = int(background.sum()) // background.size
    while True:
        colour = random.randint(0, 256, size=3)
        if abs(int(colour.sum()) // 3 - brightness) >= CONTRAST:
            return colour


def overlaps(box: tuple[int, int, int, int], digits: list[Digit]) -> bool:
    """Whether the box shares a pixel with that of a digit."""
    x, y, w, h = box
    return any(x < a + c and a < x + w and y < b + d and b < y + h for a, b, c, d in (g.box for g in digits))


def paste(image: np.ndarray, stamp: np.ndarray, left: int, top: int, random: RandomState) -> None:
    """Draw the stamp in one colour onto the image, in place."""
    region = image[top : top + stamp.shape[0], left : left + stamp.shape[1]]
    opacity = (2 * (stamp[..., None].astype(np.int64) - PAPER)).clip(0, 255)
    colour = contrasting_colour(region, random)
    region[:] = (region * (255 - opacity) + colour * opacity) // 255


def free_place(
    stamp: np.ndarray, size: int, digits: list[Digit], random: RandomState
) -> tuple[int, int, int, int] | None:
    """A random box x, y, width, height for the stamp that overlaps no digit; None where PLACES tries fail."""
    height, width = stamp.shape
    for _ in range(PLACES):
        box = (random.randint(size - width + 1), random.randint(size - height + 1), width, height)
        if not overlaps(box, digits):
            return box
    return None


def draw_image(
    scans: Scans, photographs: list[np.ndarray], size: int, random: RandomState
) -> tuple[np.ndarray, list[Digit]]:
    """One image, (size, size, 3) uint8, with up to MOST_DIGITS digits that do not overlap."""
    image = random_crop(photographs, size, random)
    digits: list[Digit] = []
    wanted = 0 if random.random_sample() < EMPTY else random.randint(1, MOST_DIGITS + 1)
    for _ in range(wanted):
        stamp, label = random_stamp(scans, size, random)
        box = free_place(stamp, size, digits, random)
        if box is not None:
            paste(image, stamp, *box[:2], random)
            digits.append(Digit(label, box, stamp >= INK))
    return image, digits
