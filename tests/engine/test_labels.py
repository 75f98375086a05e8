"""Labels of boxes: their texts, and that none covers another."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from brs_detr.engine.inference import pictures
from brs_detr.engine.inference.labels import ELLIPSIS, class_text, overlaps, place, score_text, shortened, text_size


@pytest.mark.parametrize(
    ("score", "text"),
    [
        *((0.0123, "0.0123"), (0.98, "0.98"), (0.5, "0.50"), (0.9996, "0.9996"), (0.9951, "0.995"), (1.0, "1.00")),
        *((0.0, "0"), (0.0004567, "0.000457"), (0.09999, "0.1"), (float(np.float32(0.99999)), "0.99999")),
    ],
)
def test_scores_have_the_digits_they_need(score: float, text: str) -> None:
    assert score_text(score) == text


def boxes_in(width: int, height: int, count: int, seed: int) -> np.ndarray:
    corners = np.random.default_rng(seed).uniform(0, 1, (count, 2, 2)) * (width, height)
    return np.hstack([corners.min(1), corners.min(1) + 1 + 0.3 * np.ptp(corners, axis=1)]).clip(0, (width, height) * 2)


@pytest.mark.parametrize("count", [1, 12, 150])
def test_labels_do_not_cover_each_other(count: int) -> None:
    size = (640, 480)
    boxes = boxes_in(*size, count, seed=count)
    placed = place(boxes, [(70 + 5 * (i % 4), 20) for i in range(count)], size)
    rectangles = np.array([each for each in placed if each])
    common = overlaps(rectangles, rectangles)
    assert (common == np.diag(common.diagonal())).all()
    assert (rectangles >= 0).all()
    assert (rectangles[:, 2:] <= size).all()
    assert len(rectangles) == count or count == 150
    assert len(rectangles) > count // 3


def test_a_label_leaves_the_neighbours_free() -> None:
    """Above is another object, so that the label goes elsewhere, and beside its own box."""
    boxes = np.array([[200.0, 200, 300, 300], [150, 150, 350, 199]])
    first, second = (np.array([each], float) for each in place(boxes, [(80, 20), (80, 20)], (640, 480)))
    assert not overlaps(first, boxes).any()
    assert not overlaps(second, boxes).any()
    gaps = np.maximum(first[0, :2] - boxes[0, 2:], boxes[0, :2] - first[0, 2:])
    assert gaps.max() == 0


def test_names_of_any_length_and_script() -> None:
    assert [class_text(name, 3) for name in ("dog?", "человек", "人", "고양이", "a\tb")] == [
        "dog?",
        "человек",
        "人",
        "고양이",
        "a\\tb",
    ]
    assert class_text("ไทย", 3) == "#3"  # a script that would be drawn as question marks
    short = shortened("a name without end" * 9, " 0.50", 14, 200)
    assert short.startswith("a name")
    assert short.endswith(f"{ELLIPSIS} 0.50")
    assert text_size(short, 14)[0] <= 200


def test_neighbouring_classes_differ_in_colour() -> None:
    colours = np.array([pictures.colour_of(label) for label in range(80)], float)
    assert len({tuple(colour) for colour in colours}) == 80
    assert np.abs(colours[1:] - colours[:-1]).max(1).min() > 100


@pytest.mark.parametrize(("width", "height"), [(1, 1), (32, 32), (2000, 5), (30, 900), (6000, 1000)])
def test_text_is_legible_at_any_size(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images are enlarged, and the fonts of large ones grow with them."""
    fonts: list[int] = []
    write = pictures.write
    monkeypatch.setattr(pictures, "write", lambda *args: (fonts.append(args[4]), write(*args)))
    found = InstanceData(
        bboxes=torch.tensor([[0.0, 0, width, height]]), labels=torch.tensor([0]), scores=torch.tensor([0.5])
    )
    picture = pictures.draw(np.zeros((height, width, 3), np.uint8), found, None, ("a",))
    assert len(fonts) == 2  # the title and the label
    assert min(fonts) == max(14, max(picture.shape[1], picture.shape[0] - 30) // 90)
    assert min(picture.shape[:2]) >= 480
    assert max(picture.shape[:2]) <= max(6000, pictures.ENLARGED) + 100
