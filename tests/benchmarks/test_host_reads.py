"""What is counted as a read on the CPU. `tests/detectors/test_device_placement.py` compares steps with the table."""

import copy

import torch

from benchmarks.host_reads import OTHER, host_reads
from brs_detr.heads.host import indices_of_each


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
