"""What counts as a launch, and that the committed table is still what the losses do."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton has no release for this platform")

from benchmarks.launches import RESULTS, Launches, count, needed
from benchmarks.problems import make


def test_what_computes_is_a_launch_of_what_it_reads_and_writes() -> None:
    values, places = torch.zeros(3, 4), torch.tensor([1, 2])
    for run, launches, moved in (
        (lambda: values + values, 1, 3 * 48),
        (lambda: values[:, 1:].T.view(3, 3), 0, 0),
        (lambda: values[0].expand(100, 4).sum(), 1, 16 + 4),
        (lambda: values.view(-1)[places], 1, 2 * 8 + 16),
        (lambda: torch.zeros_like(values), 1, 48),
    ):
        with Launches() as counted:
            run()
        assert (counted.number.total(), counted.bytes) == (launches, moved)


def test_the_table_is_of_these_losses() -> None:
    """Launches do not depend on the size of a problem; bytes nearly grow with it."""
    rows = [line.strip("| ").split("|") for line in RESULTS.read_text().splitlines() if line.startswith("|")]
    (rpn,) = (list(map(str.strip, row)) for row in rows if row[1:3] and row[1].strip() == "1500" and "800k" in row[2])
    problem = make(1500, 80_000)
    forward, backward, moved = count([problem])
    assert [str(forward), str(backward)] == rpn[3:5]
    assert moved / needed([problem]) > float(rpn[5])
