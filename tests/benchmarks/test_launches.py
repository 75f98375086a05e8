"""What counts as a launch, that the committed table is still what the losses do, and how much a step may launch."""

from unittest import mock

import pytest
import torch

pytest.importorskip("triton", reason="Triton has no release for this platform")

from benchmarks.launches import RESULTS, Launches, count, needed, total
from benchmarks.problems import QUERIES as QUERIES_OF_STEP
from benchmarks.problems import STEP, make
from brs_detr.losses import problems
from brs_detr.losses.blocks import STACKED

QUERIES, OTHERS = [*STEP.values()][:QUERIES_OF_STEP], [*STEP.values()][QUERIES_OF_STEP:]
CALLS = [QUERIES, *([other] for other in OTHERS)]


def rows() -> list[list[str]]:
    lines = (line for line in RESULTS.read_text().splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_what_computes_is_a_launch_of_what_it_reads_and_writes() -> None:
    values, places = torch.zeros(3, 4), torch.tensor([1, 2])
    for run, launches, moved in (
        (lambda: values + values, 1, 3 * 48),
        (lambda: values[:, 1:].T.view(3, 3), 0, 0),
        (lambda: values[0].expand(100, 4).sum(), 1, 16 + 4),
        (lambda: values.view(-1)[places], 1, 2 * 8 + 16),
        (lambda: torch.zeros_like(values), 1, 48),
        (lambda: torch.promote_types(values.dtype, places.dtype), 0, 0),
    ):
        with Launches() as counted:
            run()
        assert (counted.number.total(), counted.bytes) == (launches, moved)


def test_the_table_is_of_these_losses() -> None:
    """Launches do not depend on the size of a problem; bytes nearly grow with it."""
    (rpn,) = (row for row in rows() if row[1] == "1500" and row[2] == "800k")
    problem = make(1500, 80_000)
    cost = count([problem])
    assert [str(cost.forward), str(cost.backward)] == rpn[3:5]
    assert cost.bytes / needed([problem]) > float(rpn[5])


def test_a_step_keeps_within_its_bars() -> None:
    """Calls as in a step, of problems a tenth as long; the bytes are the table's."""
    with mock.patch.object(problems, "STACKED", STACKED // 10):
        calls = [[make(p, n // 10, seed) for p, n, times in group for seed in range(times)] for group in CALLS]
        cost = total(map(count, calls))
    (step,) = (row for row in rows() if row[0] == "all 22")
    assert [str(cost.forward), str(cost.backward)] == step[3:5]
    assert cost.forward + cost.backward <= 200
    assert float(step[5]) <= 3


def test_focal_loss_is_supposed_a_kernel_each_way() -> None:
    (focal,) = (row for row in rows() if row[0].endswith("a kernel each way"))
    assert focal[3:5] == ["22", "22"]
