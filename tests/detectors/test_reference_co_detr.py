"""The baseline is the released Co-Deformable-DETR: same numbers, from the same weights."""

import pytest
import torch
from torch import Tensor, nn

from tests.detectors.recorded_training import gradient_norms, released_name, replay, total
from tests.reference import (
    build,
    load_reader,
    needs_reference,
    recorded_batch,
    tiny_config,
    unlimited_samplers,
)

pytestmark = needs_reference
TOLERANCE = dict(rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in load_reader().tiny_eval().items()}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build(tiny_config("co_deformable_detr_r50"), load_reader().tiny_state()).eval()


@pytest.fixture(scope="module")
def forward(model: nn.Module) -> dict:
    """Every intermediate of the evaluation of the recorded batch."""
    images, samples = recorded_batch()
    with torch.no_grad():
        feats = model.extract_feat(images)
        encoder_inputs, memory_inputs = model.pre_transformer(feats, samples)
        encoder = model.forward_encoder(**encoder_inputs)
        queries, _ = model.pre_decoder(**encoder)
        decoder = model.forward_decoder(**{**memory_inputs, **queries})
        maps = model.memory_maps(encoder["memory"], [f.shape[-2:] for f in feats])
    return dict(feats=feats, encoder=encoder, queries=queries, decoder=decoder, maps=maps)


def test_neck_encoder_and_maps(forward: dict, recorded: dict[str, Tensor]) -> None:
    for level, feat in enumerate(forward["feats"]):
        torch.testing.assert_close(feat, recorded[f"neck.{level}"], **TOLERANCE)
    torch.testing.assert_close(forward["encoder"]["memory"], recorded["cap.memory"], **TOLERANCE)
    for level, feat in enumerate(forward["maps"]):
        torch.testing.assert_close(feat, recorded[f"enc_feats.{level}"], **TOLERANCE)


def test_encoder_proposals(model: nn.Module, forward: dict, recorded: dict[str, Tensor]) -> None:
    proposals = model.gen_encoder_output_proposals(**forward["encoder"])[1]
    torch.testing.assert_close(proposals, recorded["cap.output_proposals_unact"], **TOLERANCE)
    queries = forward["queries"]
    torch.testing.assert_close(queries["query"], recorded["cap.dec_query_in"], **TOLERANCE)
    torch.testing.assert_close(queries["query_pos"], recorded["cap.dec_query_pos"], **TOLERANCE)
    torch.testing.assert_close(queries["reference_points"], recorded["cap.dec_reference_in"], **TOLERANCE)


def test_decoder_layers(model: nn.Module, forward: dict, recorded: dict[str, Tensor]) -> None:
    logits, boxes = model.bbox_head(**forward["decoder"])
    torch.testing.assert_close(forward["decoder"]["hidden_states"], recorded["cap.dec_hs"], **TOLERANCE)
    torch.testing.assert_close(logits, recorded["all_cls_scores"], **TOLERANCE)
    torch.testing.assert_close(boxes, recorded["all_bbox_preds"], **TOLERANCE)


def test_auxiliary_heads(model: nn.Module, forward: dict, recorded: dict[str, Tensor]) -> None:
    outputs = {"rpn_cls": 0, "rpn_reg": 1}, model.rpn_head(forward["maps"])
    atss = {"atss_cls": 0, "atss_reg": 1, "atss_ctr": 2}, model.atss_head(forward["maps"])
    for names, predicted in (outputs, atss):
        for name, index in names.items():
            for level, tensor in enumerate(predicted[index]):
                torch.testing.assert_close(tensor, recorded[f"{name}.{level}"], **TOLERANCE)
    roi = model.roi_head._bbox_forward(forward["maps"], recorded["roi50.rois"])
    torch.testing.assert_close(roi["cls_score"], recorded["roi50.cls"], **TOLERANCE)
    torch.testing.assert_close(roi["bbox_pred"], recorded["roi50.reg"], **TOLERANCE)
    torch.testing.assert_close(roi["bbox_feats"].mean((2, 3)), recorded["roi50.feats_mean"], **TOLERANCE)


@pytest.mark.parametrize("rescale", [False, True])
def test_detections(model: nn.Module, recorded: dict[str, Tensor], rescale: bool) -> None:
    images, samples = recorded_batch()
    with torch.no_grad():
        predicted = model.predict(images, samples, rescale=rescale)
    for image, sample in enumerate(predicted):
        name = f"det_rescale{int(rescale)}.{image}"
        found = sample.pred_instances
        torch.testing.assert_close(found.bboxes, recorded[f"{name}.bboxes"][:, :4], **TOLERANCE)
        torch.testing.assert_close(found.scores, recorded[f"{name}.bboxes"][:, 4], **TOLERANCE)
        assert torch.equal(found.labels, recorded[f"{name}.labels"])


def test_training_step() -> None:
    """All losses to 1e-4 and, by group of parameters, gradient norms to 1e-3, relative."""
    log, arrays = load_reader().train_step("co_deformable_detr")
    cfg = unlimited_samplers(tiny_config("co_deformable_detr_r50"))
    model = build(cfg, load_reader().tiny_state())
    losses = replay(model, arrays)
    for name, value in losses.items():
        expected = log["losses"][released_name(name)]
        value = torch.stack(list(value)).tolist() if isinstance(value, (list, tuple)) else float(value.detach())
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-5), name
    assert {released_name(name) for name in losses} == set(log["losses"])
    loss = total(losses)
    assert float(loss.detach()) == pytest.approx(log["total"], rel=1e-4)
    loss.backward()
    norms = gradient_norms(model, log["grad_norm_groups"])
    assert norms == pytest.approx(log["grad_norm_groups"], rel=1e-3)
