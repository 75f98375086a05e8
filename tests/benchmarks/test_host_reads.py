"""One training step of every detector waits for the device as often as the committed table says."""

import copy

import pytest
import torch

from benchmarks.host_reads import BY_FUNCTION, CONFIGS, LOSSES, OPENMMLAB, OTHER, OURS, RESULTS, host_reads, reads_of
from brs_detr.heads.host import indices_of_each

SAMPLER = 2  # of anchors: one for each of two images
OWN = {  # one for the matching of all layers of a DETR head, one for the positives of each other head
    "faster_rcnn/brs-faster-rcnn": 2 + SAMPLER,
    "cascade_rcnn/brs-cascade-rcnn": 4,
    "mask_rcnn/brs-mask-rcnn": 2 + SAMPLER,
    "atss/brs-atss": 1,
    "paa/brs-paa": 1,
    "dino/brs-dino-4scale": 1,
    "ddq/brs-ddq-detr-4scale": 1 + 2,  # distinct queries, and the positives of dense ones
    "co_detr/co-deformable-detr": 1 + SAMPLER,
    "brs_detr/brs-detr": 1 + 3 + 2 * SAMPLER,
    "co_dino/co-dino": 1 + SAMPLER,
    "brs_dino/brs-dino": 1 + 3 + 2 * SAMPLER,
}
CALLS_OF_A_LOSS = 6  # of BRS-DETR: queries, RPN, RoI head, ATSS head, and queries of the last two; each reads once


def recorded(name: str) -> dict[str, int]:
    """The committed row of a config."""
    (row,) = (line for line in RESULTS.read_text().splitlines() if line.startswith(f"| `{name}_tiny"))
    return dict(zip((OURS, LOSSES, OPENMMLAB, OTHER), map(int, row.strip("| ").split("|")[1:]), strict=True))


@pytest.mark.parametrize("name", CONFIGS)
def test_reads_of_a_training_step(name: str) -> None:
    counted, table = reads_of(name), recorded(name)
    reads = counted.by
    assert reads[OURS] == OWN[name] == table[OURS]
    assert reads[OPENMMLAB] == pytest.approx(table[OPENMMLAB], rel=0.1)  # assigners loop over objects
    assert reads[OTHER] == table[OTHER]
    if name == BY_FUNCTION:
        assert counted.by_function[LOSSES, "gathering._read"] == CALLS_OF_A_LOSS
        assert counted.by_function[OURS, "anchor_assignment.sample"] == 2 * SAMPLER  # in place of mmdet's
        assert reads[OURS] - 2 * SAMPLER + CALLS_OF_A_LOSS <= 12


def test_every_kind_of_read_is_seen() -> None:
    values = torch.arange(4.0)
    for read in (
        lambda: values.tolist(),
        lambda: values.numpy(),
        lambda: values.cpu(),
        lambda: float(values[0]),
        lambda: values.nonzero(),
        lambda: values[values > 1],
    ):
        assert host_reads(read).by == {OTHER: 1}
    assert host_reads(lambda: values[torch.tensor([1, 2])] + 1).by == {}


def test_indices_of_all_layers_cost_one_read() -> None:
    masks = [torch.rand(length) > 0.5 for length in (7, 40, 1)] + [torch.zeros(3, dtype=torch.bool)]
    found = []
    assert host_reads(lambda: found.extend(indices_of_each(masks))).number == 1
    for indices, mask in zip(found, masks, strict=True):
        assert torch.equal(indices, mask.nonzero().squeeze(1))


def test_counting_leaves_tensors_as_they_were() -> None:
    before = copy.copy(torch.Tensor.tolist)
    host_reads(lambda: None)
    assert torch.Tensor.tolist is before
