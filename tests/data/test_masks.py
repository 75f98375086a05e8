"""Masks and their forms in COCO files."""

import json

import numpy as np
import pytest

from brs_detr.data.masks import decode, encode, run_lengths
from brs_detr.errors import InputError


def test_run_lengths_give_the_mask_back() -> None:
    mask = np.random.RandomState(0).rand(7, 9) < 0.5
    encoded = json.loads(json.dumps(encode(mask)))
    assert encoded["size"] == [7, 9]
    assert np.array_equal(decode(encoded, 7, 9), mask)


def test_polygons_and_plain_run_lengths() -> None:
    square = np.zeros((8, 10), dtype=bool)
    square[2:5, 3:7] = True
    assert np.array_equal(decode([[3, 2, 7, 2, 7, 5, 3, 5]], 8, 10), square)
    starts = np.flatnonzero(np.diff(square.T.ravel().astype(int), prepend=0))
    counts = np.diff([0, *starts, square.size]).tolist()
    assert np.array_equal(decode({"size": [8, 10], "counts": counts}, 8, 10), square)
    assert decode([[0, 0, 2, 0, 2, 2], [5, 5, 8, 5, 8, 8]], 8, 10).sum() > 2


@pytest.mark.parametrize("flat", [[], [1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5]])
def test_polygons_with_too_few_corners_cover_nothing(flat: list[int]) -> None:
    square = [3, 2, 7, 2, 7, 5, 3, 5]
    assert not decode([flat], 8, 10).any()
    assert np.array_equal(decode([flat, square], 8, 10), decode([square], 8, 10))


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_of_compressed_ones(seed: int) -> None:
    """Long and short runs, in both orders, and masks that are empty or full."""
    random = np.random.RandomState(seed)
    mask = np.kron(random.rand(9, 11) < random.rand(), np.ones((1 + 20 * seed, 1 + 9 * seed))).astype(bool)
    lengths = run_lengths(encode(mask)["counts"])
    assert lengths is not None
    restored = np.repeat(np.arange(len(lengths)) % 2, lengths).reshape(mask.shape, order="F")
    assert np.array_equal(restored.astype(bool), mask)


def test_broken_run_lengths_never_reach_pycocotools() -> None:
    for counts in ([5], [10**9], "0", "", "zzzz"):
        with pytest.raises(InputError, match="A segmentation is broken: run lengths"):
            decode({"size": [8, 8], "counts": counts}, 8, 8)
