"""The baseline is the released Co-DINO: same numbers, from the same weights."""

import pytest
import torch
from torch import Tensor, nn

from tests.detectors.recorded_co_dino import (
    batch,
    recorded,
    recorded_choice_of_queries,
    recorded_noise,
    small_config,
    small_model,
)
from tests.detectors.recorded_training import gradient_norms, released_name, total
from tests.reference import needs_reference, unlimited_samplers

pytestmark = needs_reference
TOLERANCE = dict(rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return small_model(small_config("co_dino_r50")).eval()


@pytest.fixture(scope="module")
def arrays() -> dict[str, Tensor]:
    return recorded()[0]


@pytest.fixture(scope="module")
def forward(model: nn.Module) -> dict:
    """Every intermediate of the evaluation of the recorded batch."""
    images, samples = batch()
    with torch.no_grad():
        feats = model.extract_feat(images)
        encoder_inputs, memory_inputs = model.pre_transformer(feats, samples)
        encoder = model.forward_encoder(**encoder_inputs)
        queries, _ = model.pre_decoder(**encoder)
        decoder = model.forward_decoder(**{**memory_inputs, **queries})
        maps = model.memory_maps(encoder["memory"], [f.shape[-2:] for f in feats])
    return dict(feats=feats, inputs=encoder_inputs, encoder=encoder, queries=queries, decoder=decoder, maps=maps)


def test_neck_encoder_and_maps(forward: dict, arrays: dict[str, Tensor]) -> None:
    for level, feat in enumerate(forward["feats"][1:], start=1):
        torch.testing.assert_close(feat, arrays[f"neck.{level}"], **TOLERANCE)
    torch.testing.assert_close(forward["inputs"]["valid_ratios"], arrays["cap.valid_ratios"], **TOLERANCE)
    assert torch.equal(forward["inputs"]["feat_mask"], arrays["cap.mask_flatten"])
    torch.testing.assert_close(forward["encoder"]["memory"], arrays["cap.memory"], **TOLERANCE)
    torch.testing.assert_close(forward["maps"][5], arrays["enc_feats.5"], **TOLERANCE)


def test_encoder_proposals(model: nn.Module, forward: dict, arrays: dict[str, Tensor]) -> None:
    memory, proposals = model.gen_encoder_output_proposals(**forward["encoder"])
    torch.testing.assert_close(proposals, arrays["cap.output_proposals_unact"], **TOLERANCE)
    with torch.no_grad():
        logits = model.bbox_head.cls_branches[2](memory)
    torch.testing.assert_close(logits, arrays["enc_cls_all"], **TOLERANCE)
    chosen = logits.amax(-1).topk(30)[1]
    assert torch.equal(chosen, arrays["topk_indices"])
    torch.testing.assert_close(forward["queries"]["reference_points"], arrays["cap.dec_reference_in"], **TOLERANCE)
    assert torch.equal(forward["queries"]["query"][1], model.query_embedding.weight)


def test_decoder_layers(model: nn.Module, forward: dict, arrays: dict[str, Tensor]) -> None:
    with torch.no_grad():
        logits, boxes = model.bbox_head(**forward["decoder"])
    torch.testing.assert_close(forward["decoder"]["hidden_states"], arrays["cap.dec_hs"], **TOLERANCE)
    references = torch.stack(forward["decoder"]["references"])
    torch.testing.assert_close(references, arrays["cap.dec_inter_refs"], **TOLERANCE)
    torch.testing.assert_close(logits, arrays["all_cls_scores"], **TOLERANCE)
    torch.testing.assert_close(boxes, arrays["all_bbox_preds"], **TOLERANCE)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(("name", "test_cfg"), [("softnms", {}), ("plain", dict(nms=None, max_per_img=100))])
def test_detections(model: nn.Module, arrays: dict[str, Tensor], name: str, test_cfg: dict, rescale: bool) -> None:
    model.bbox_head.test_cfg.update({**small_config("co_dino_r50").model.test_cfg.detr, **test_cfg})
    with torch.no_grad():
        predicted = model.predict(*batch(), rescale=rescale)
    for image, sample in enumerate(predicted):
        expected = arrays[f"det_{name}_rescale{int(rescale)}.{image}.bboxes"]
        found = sample.pred_instances
        torch.testing.assert_close(found.bboxes, expected[:, :4], **TOLERANCE)
        torch.testing.assert_close(found.scores, expected[:, 4], **TOLERANCE)
        assert torch.equal(found.labels, arrays[f"det_{name}_rescale{int(rescale)}.{image}.labels"])


def test_denoising_queries() -> None:
    """mmdet's generator makes the released queries of the released draws: 100 // 5 groups of 2 x 5."""
    _, arrays, _ = recorded()
    model = small_model(small_config("co_dino_r50"))
    with recorded_noise():
        labels, boxes, mask, meta = model.dn_query_generator(batch()[1])
    torch.testing.assert_close(labels, arrays["dn.label_query"], **TOLERANCE)
    torch.testing.assert_close(boxes, arrays["dn.bbox_query_unact"], **TOLERANCE)
    assert torch.equal(mask, arrays["dn.attn_mask"])
    assert meta == dict(num_denoising_queries=int(arrays["dn.pad_size"]), num_denoising_groups=20)


def test_training_step() -> None:
    """All losses to 1e-4 and, by group of parameters, gradient norms to 1e-3, relative."""
    log = recorded()[2]
    model = small_model(unlimited_samplers(small_config("co_dino_r50"))).train()
    with recorded_noise(), recorded_choice_of_queries():
        losses = model.loss(*batch())
    for name, value in losses.items():
        value = torch.stack(list(value)).tolist() if isinstance(value, list | tuple) else float(value.detach())
        assert value == pytest.approx(log["losses"][released_name(name)], rel=1e-4, abs=1e-5), name
    assert {released_name(name) for name in losses} == set(log["losses"])
    loss = total(losses)
    assert float(loss.detach()) == pytest.approx(log["total"], rel=1e-4)
    loss.backward()
    norms = gradient_norms(model, log["grad_norm_groups"])
    assert norms == pytest.approx(log["grad_norm_groups"], rel=1e-3)
