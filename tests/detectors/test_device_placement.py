"""Every detector trains and detects on the device of its model: nothing of ours is built beside it."""

import copy
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from benchmarks.host_reads import (
    BY_FUNCTION,
    CONFIGS,
    KINDS,
    LOSSES,
    OPENMMLAB,
    OURS,
    RESULTS,
    Crossings,
    batch,
    row,
    tiny_model,
    whole_step,
)
from benchmarks.stand_in_gpu import COPY, READ, OnGPU, StandInGPU, move, standing_in
from brs_detr.detectors import CoDETR
from brs_detr.detectors.co_detr import EVAL_MODULES

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="stands in for a GPU, where there is none")

SAMPLER = INSIDE = 2  # of anchors, and how many of ATSS's are in the image: one for each of two images
OWN = {  # reads: one for the matching of all layers of a DETR head, one for the positives of each other head
    "faster_rcnn/brs-faster-rcnn": 2 + SAMPLER,
    "cascade_rcnn/brs-cascade-rcnn": 4,
    "mask_rcnn/brs-mask-rcnn": 2 + SAMPLER,
    "atss/brs-atss": 1 + INSIDE,
    "paa/brs-paa": 1,
    "dino/brs-dino-4scale": 1,
    "ddq/brs-ddq-detr-4scale": 1 + 2,  # distinct queries, and the positives of dense ones
    "co_detr/co-deformable-detr": 1 + SAMPLER + INSIDE,
    "brs_detr/brs-detr": 1 + 3 + 2 * SAMPLER + INSIDE,
    "co_dino/co-dino": 1 + SAMPLER + INSIDE,
    "brs_dino/brs-dino": 1 + 3 + 2 * SAMPLER + INSIDE,
}
CALLS_OF_A_LOSS = 4  # of BRS-DETR: all queries, RPN, RoI head, ATSS head; each reads once


class Step(NamedTuple):
    """What one step makes of a model: losses, gradients after clipping, and the weights that AdamW changed."""

    losses: dict[str, float]
    gradients: dict[str, Tensor]
    moved: set[str]


def host(value: Tensor) -> Tensor:
    return value.values if isinstance(value, OnGPU) else value.detach()


def trained(model: nn.Module, name: str) -> Step:
    before = {key: host(parameter).clone() for key, parameter in model.named_parameters()}
    losses = whole_step(model, name)
    return Step(
        {key: float(host(value)) for key, value in losses.items()},
        {key: host(p.grad) for key, p in model.named_parameters() if p.grad is not None},
        {key for key, p in model.named_parameters() if not torch.equal(before[key], host(p))},
    )


@torch.no_grad()
def detected(model: nn.Module) -> list[list[Tensor]]:
    """Scores, boxes and masks of each image, by each head that can detect."""
    found = []
    for eval_module in EVAL_MODULES if isinstance(model, CoDETR) else [""]:
        model.eval_module = eval_module
        data = model.eval().data_preprocessor(batch(), training=False)
        samples = model.predict(data["inputs"], data["data_samples"])
        found += [list(sample.pred_instances.values()) for sample in samples]
    model.train()
    return found


def check_crossings(name: str, crossings: Crossings) -> None:
    """They are those of the committed table; the host never waits for a copy of ours."""
    (line,) = (line for line in RESULTS.read_text().splitlines() if line.startswith(f"| `{name}_tiny"))
    recorded, counted = list(map(int, line.strip("| ").split("|")[1:])), row(name, crossings)[1:]
    for kind, number, other in zip(KINDS * 2, recorded, counted, strict=True):
        assert other == (pytest.approx(number, rel=0.1) if kind == OPENMMLAB else number)  # assigners loop over objects
    assert crossings.by[READ, OURS] == OWN[name]
    assert crossings.by[COPY, OURS] == crossings.by[COPY, LOSSES] == 0
    if name == BY_FUNCTION:
        assert crossings.by[READ, LOSSES] == CALLS_OF_A_LOSS
        assert crossings.by_function[READ, (OURS, "anchor_assignment.sample")] == 2 * SAMPLER  # in place of mmdet's
        assert OWN[name] - 2 * SAMPLER + CALLS_OF_A_LOSS <= 10


@pytest.mark.parametrize("name", CONFIGS)
def test_a_training_step_and_an_evaluation(name: str) -> None:
    """No operator mixes devices, and values are the CPU's; what crosses between the devices is what the table says."""
    model = tiny_model(name)
    there = copy.deepcopy(model)
    move(there)
    with standing_in(StandInGPU()):
        found = detected(there)
    for fields, expected in zip(found, detected(model), strict=True):
        assert len(expected[0]) > 0
        for field, values in zip(fields, expected, strict=True):
            assert isinstance(field, OnGPU) or isinstance(values, list)
            torch.testing.assert_close(
                host(field).float().sort(0).values, values.float().sort(0).values, rtol=1e-3, atol=1e-3
            )
    with standing_in(Crossings()) as crossings:
        ours = trained(there, name)
    check_crossings(name, crossings)
    expected = trained(model, name)
    assert ours.losses == pytest.approx(expected.losses, rel=1e-4, abs=1e-6)
    assert ours.gradients.keys() == expected.gradients.keys()
    assert ours.moved == expected.moved >= {key for key, gradient in expected.gradients.items() if gradient.any()}
    for key, gradient in expected.gradients.items():
        limit = 1e-2 * float(gradient.abs().max()) + 1e-9  # rounding may turn ranks of random logits that all but tie
        torch.testing.assert_close(ours.gradients[key], gradient, rtol=0, atol=limit, msg=key)


def test_what_a_gpu_refuses_is_refused() -> None:
    with standing_in(StandInGPU()) as mode:
        values = torch.tensor([1.0, 2.0], device="cuda")
        assert values.is_cuda
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            values + torch.ones(2)
        with pytest.raises(TypeError, match="NumPy"):
            values.numpy()
        assert mode.number == {COPY: 1}
        assert values[torch.tensor([1])].tolist() == [2.0]
        assert mode.number == {COPY: 2, READ: 1}
        assert (values + torch.ones(2).to("cuda", non_blocking=True)).tolist() == [2.0, 3.0]
