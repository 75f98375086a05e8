"""Positives of the auxiliary heads as queries: how many, which, and what stands for the missing."""

import pytest
import torch

from brs_detr.heads import AuxiliarySamples, select_queries

CLASSES = 3


def samples(num_positive: int, num_negative: int, num_unused: int = 0) -> AuxiliarySamples:
    """Sample i has the feature i; positives come last, so that their choice is no accident of order."""
    total = num_unused + num_negative + num_positive
    corner = torch.rand(total, 2) * 50
    boxes = torch.cat([corner, corner + 10 + torch.rand(total, 2) * 20], dim=1)
    labels = torch.full((total,), CLASSES)
    labels[num_unused + num_negative :] = torch.arange(num_positive) % CLASSES
    weights = torch.ones(total)
    weights[:num_unused] = 0
    return AuxiliarySamples(boxes, labels, boxes + 1, weights, torch.arange(total).float()[:, None], num_positive)


@pytest.mark.parametrize(
    ("positives", "expected"), [((0, 0), 9), ((4, 2), 9), ((12, 3), 12), ((40, 500), 300), ((300, 299), 300)]
)
def test_number_of_queries(positives: tuple[int, int], expected: int) -> None:
    group = select_queries([samples(p, 1000) for p in positives], [(80, 100)] * 2, CLASSES)
    assert group.boxes.shape == (2, expected, 4)
    assert group.feats.shape == (2, expected, 1)
    for labels, count in zip(group.targets.labels, positives, strict=True):
        assert int((labels < CLASSES).sum()) == min(count, expected)
    assert group.targets.num_total_pos == sum(min(p, expected) for p in positives)
    assert group.targets.num_total_pos + group.targets.num_total_neg == 2 * expected


def test_boxes_labels_and_features_stay_together() -> None:
    given = samples(5, 30)
    group = select_queries([given], [(80, 100)], CLASSES)
    index = group.feats[0, :, 0].long()
    assert len(index.unique()) == len(index)
    x1, y1, x2, y2 = given.boxes[index].unbind(1)
    expected = torch.stack([(x1 + x2) / 200, (y1 + y2) / 160, (x2 - x1) / 100, (y2 - y1) / 80], dim=1)
    torch.testing.assert_close(group.boxes[0], expected)
    assert torch.equal(group.targets.labels[0], given.labels[index])
    assert torch.equal(group.targets.box_weights[0][:, 0] == 1, given.labels[index] < CLASSES)


def test_ignored_samples_are_never_preferred_to_background() -> None:
    group = select_queries([samples(2, 7, num_unused=100)], [(80, 100)], CLASSES)
    assert torch.all(group.targets.label_weights[0] == 1)


def test_padding_is_invisible_to_the_losses() -> None:
    group = select_queries([samples(1, 2), samples(12, 0)], [(80, 100)] * 2, CLASSES)
    weights = group.targets.label_weights[0]
    assert weights.tolist() == [1.0] * 3 + [0.0] * 9
    assert torch.all(group.targets.labels[0][3:] == CLASSES)
    assert torch.isfinite(group.boxes).all()


def test_surplus_positives_are_dropped_at_random() -> None:
    given = samples(400, 10)
    first, second = (select_queries([given], [(80, 100)], CLASSES).feats[0, :, 0] for _ in range(2))
    assert set(first.tolist()) != set(second.tolist())
