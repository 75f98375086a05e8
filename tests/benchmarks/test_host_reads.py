"""One training step of every detector waits for the device as often as the committed table says."""

import copy

import pytest
import torch

from benchmarks.host_reads import CONFIGS, LOSSES, OPENMMLAB, OTHER, OURS, RESULTS, host_reads, reads_of
from brs_detr.heads.host import indices_of_each

OWN = {  # one for all layers of a DETR head, one for each other head, one for each choice of auxiliary queries
    "faster_rcnn/brs-faster-rcnn": 2,
    "cascade_rcnn/brs-cascade-rcnn": 4,
    "mask_rcnn/brs-mask-rcnn": 2,
    "atss/brs-atss": 1,
    "paa/brs-paa": 1,
    "dino/brs-dino-4scale": 1,
    "ddq/brs-ddq-detr-4scale": 2,
    "co_detr/co-deformable-detr": 2,
    "brs_detr/brs-detr": 3 + 3 + 2,
    "co_dino/co-dino": 2,
    "brs_dino/brs-dino": 3 + 3 + 2,
}


def recorded(name: str) -> dict[str, int]:
    """The committed row of a config."""
    (row,) = (line for line in RESULTS.read_text().splitlines() if f"`{name}_tiny" in line)
    return dict(zip((OURS, LOSSES, OPENMMLAB, OTHER), map(int, row.strip("| ").split("|")[1:]), strict=True))


@pytest.mark.parametrize("name", CONFIGS)
def test_reads_of_a_training_step(name: str) -> None:
    reads, table = reads_of(name), recorded(name)
    assert reads[OURS] == OWN[name] == table[OURS]
    assert reads[OPENMMLAB] == pytest.approx(table[OPENMMLAB], rel=0.1)  # assigners loop over objects
    assert reads[OTHER] == table[OTHER]


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
        assert host_reads(read) == {OTHER: 1}
    assert host_reads(lambda: values[torch.tensor([1, 2])] + 1) == {}


def test_indices_of_all_layers_cost_one_read() -> None:
    masks = [torch.rand(length) > 0.5 for length in (7, 40, 1)] + [torch.zeros(3, dtype=torch.bool)]
    found = []
    assert host_reads(lambda: found.extend(indices_of_each(masks))) == {OURS: 1}
    for indices, mask in zip(found, masks, strict=True):
        assert torch.equal(indices, mask.nonzero().squeeze(1))


def test_counting_leaves_tensors_as_they_were() -> None:
    before = copy.copy(torch.Tensor.tolist)
    host_reads(lambda: None)
    assert torch.Tensor.tolist is before
