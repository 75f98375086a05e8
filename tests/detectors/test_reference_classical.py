"""Faster and Cascade R-CNN, ATSS and PAA are the released ones: same losses, gradients and detections."""

from contextlib import nullcontext

import pytest
import torch

from tests.detectors.recorded_classical import (
    batch,
    load_detectors,
    match,
    recorded_model,
    recorded_rpn_labels,
    released_name,
)
from tests.detectors.recorded_training import gradient_norms, total
from tests.reference import needs_reference

pytestmark = needs_reference
TWO_STAGE, DENSE = ("faster", "cascade"), ("atss", "paa")
RANK_SORT = [("rs", "rs", "pairwise"), ("rs", "brs", "exact"), ("brs", "brs", "bucketed")]
AP = [("ap", "ap", "pairwise"), ("ap", "ap", "exact"), ("bap", "bap", "bucketed")]
CASES = [(d, *loss, "") for d in TWO_STAGE for loss in RANK_SORT] + [
    (d, *loss, "") for d in DENSE for loss in RANK_SORT + AP
]
CASES += [(d, "rs", "brs", "exact", "_nogt1") for d in TWO_STAGE + DENSE]
CASES += [(d, "bap", "bap", "bucketed", "_nogt1") for d in DENSE]


@pytest.mark.parametrize(("detector", "released", "prefix", "method", "case"), CASES)
def test_training_step(detector: str, released: str, prefix: str, method: str, case: str) -> None:
    """All losses to 1e-4 and, by group of parameters, gradient norms to 1e-3, relative."""
    reader = load_detectors()
    arrays, log = reader.arrays(detector, released), reader.results(detector)[released + case]
    model = recorded_model(detector, prefix, method).train()
    has_ties = detector == "cascade" and not case
    labels = recorded_rpn_labels(model, arrays) if has_ties else nullcontext()
    if released == "bap":
        model.bbox_head.loss_cls.half_of_itself = True
    with labels:
        losses = model.loss(*batch(arrays, without_boxes=(1,) if case else ()))
        loss = total(losses)
        loss.backward()
    two_stage = detector in TWO_STAGE
    named = {released_name(name, two_stage): float(value.detach()) for name, value in losses.items() if "loss" in name}
    assert named == pytest.approx(log["losses"], rel=1e-4)
    assert float(loss.detach()) == pytest.approx(log["total"], rel=1e-4)
    assert gradient_norms(model, log["grad_norm_groups"]) == pytest.approx(log["grad_norm_groups"], rel=1e-3)


@pytest.mark.parametrize("detector", TWO_STAGE + DENSE)
def test_detections(detector: str) -> None:
    reader = load_detectors()
    recorded = reader.detections(detector)
    key = "det_thrshipped" if detector in TWO_STAGE else "det"
    model = recorded_model(detector, "brs", "exact").eval()
    with torch.no_grad():
        predicted = model.predict(*batch(reader.arrays(detector, "brs")), rescale=True)
    for image, sample in enumerate(predicted):
        match(sample.pred_instances, recorded[f"{key}.{image}.bboxes"], recorded[f"{key}.{image}.labels"])


@pytest.mark.parametrize("detector", TWO_STAGE)
def test_proposals(detector: str) -> None:
    reader = load_detectors()
    recorded = reader.detections(detector)
    model = recorded_model(detector, "brs", "exact").eval()
    images, samples = batch(reader.arrays(detector, "brs"))
    with torch.no_grad():
        proposals = model.rpn_head.predict(model.extract_feat(images), samples, rescale=False)
    for image, found in enumerate(proposals):
        boxes = recorded[f"rpn_proposals_test.{image}"]
        match(found, boxes, 0 * boxes[:, 0])
