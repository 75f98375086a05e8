"""CoDETR and BRS-DETR on hard batches: without boxes, with empty images, with NaN; alone as in a batch."""

import pytest
import torch
from mmdet.models import DeformableDETR
from mmdet.models.layers import DeformableDetrTransformerEncoder
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from mmengine.config import Config
from torch import nn

from brs_detr.errors import InputError
from tests.configs.test_configs import build_model
from tests.reference import ROOT
from tests.samples import make_batch

TINY = ["co_detr/co-deformable-detr_tiny_digits", "brs_detr/brs-detr_tiny_digits"]


@pytest.fixture(params=TINY)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(Config.fromfile(str(ROOT / "configs" / f"{request.param}.py")))
    return model.train()


def losses_of(model: nn.Module, num_boxes: list[int], **kwargs) -> dict[str, torch.Tensor]:
    batch = model.data_preprocessor(make_batch(num_boxes, 10, **kwargs), training=True)
    return model.loss(batch["inputs"], batch["data_samples"])


@pytest.mark.parametrize("num_boxes", [[0, 0], [3, 0], [1], [0], [40, 1]])
def test_every_parameter_gets_a_finite_gradient(model: nn.Module, num_boxes: list[int]) -> None:
    loss, _ = model.parse_losses(losses_of(model, num_boxes))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_losses_do_not_depend_on_which_boxes_exist(model: nn.Module) -> None:
    """DDP averages gradients by position: the same losses must be logged with and without boxes."""
    assert losses_of(model, [0, 0]).keys() == losses_of(model, [2, 3]).keys()


def test_nan_in_the_images_is_named(model: nn.Module) -> None:
    batch = model.data_preprocessor(make_batch([2, 2], 10), training=True)
    with pytest.raises(ValueError, match=r"(decoder layer 0: logits or boxes|RPN: .* logits) are NaN or infinite"):
        model.loss(batch["inputs"] * float("nan"), batch["data_samples"])


def test_images_too_small_for_the_queries(model: nn.Module) -> None:
    with pytest.raises(InputError, match=r"give 44 encoder proposals, fewer than the 60 queries"):
        losses_of(model, [1, 1], size=(40, 48))


def test_an_image_too_narrow_for_the_queries_is_evaluated(model: nn.Module) -> None:
    (found,) = model.eval().test_step(make_batch([0], 10, size=(20, 150)))
    assert len(found.pred_instances)
    assert torch.isfinite(found.pred_instances.bboxes).all()


def test_single_image_equals_batched(model: nn.Module) -> None:
    model.eval()
    batch = make_batch([2, 2], 10)
    batch["inputs"][1] = batch["inputs"][1].new_zeros(batch["inputs"][0].shape)
    batch["data_samples"][1].set_metainfo(dict(img_shape=batch["data_samples"][0].img_shape))
    with torch.no_grad():
        together = model.test_step(batch)
        alone = [model.test_step({k: v[i : i + 1] for k, v in batch.items()})[0] for i in range(2)]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.pred_instances.scores, b.pred_instances.scores, rtol=1e-4, atol=1e-5)


def test_unscaled_box_losses_are_logged_but_not_added() -> None:
    model = build_model(Config.fromfile(str(ROOT / "configs" / f"{TINY[1]}.py"))).train()
    losses = losses_of(model, [3, 2])
    unscaled = [name for name in losses if "unscaled" in name]
    assert {"bbox_unscaled", "iou_unscaled", "enc_bbox_unscaled", "rpn_bbox_unscaled"} <= set(unscaled)
    assert not any("loss" in name for name in unscaled)
    balanced = losses["loss_rank"] + losses["loss_sort"]
    torch.testing.assert_close(losses["loss_bbox"], balanced)
    torch.testing.assert_close(losses["loss_iou"], balanced)


@pytest.mark.parametrize("masked", [True, False])
def test_sizes_that_the_host_knows_change_no_bit(masked: bool) -> None:
    model = tiny_with("brs_detr/brs-detr", num_queries=54).eval()
    shapes, ratios = torch.tensor([[6, 7], [3, 4]]), torch.rand(2, 2, 2) / 2 + 0.5
    ours = model.encoder.get_encoder_reference_points(shapes, ratios, device=ratios.device)
    assert torch.equal(
        ours, DeformableDetrTransformerEncoder.get_encoder_reference_points(shapes, ratios, device=ratios.device)
    )
    memory = torch.rand(2, 54, model.embed_dims)
    mask = torch.zeros(2, 54, dtype=torch.bool)
    mask[1, 5:42:7] = mask[1, 6:42:7] = mask[1, 45::4] = True  # the last columns of both levels
    given = memory, mask if masked else None, shapes
    found = model.gen_encoder_output_proposals(*given), DeformableDETR.gen_encoder_output_proposals(model, *given)
    assert all(map(torch.equal, *found))


def tiny_with(name: str, **options: object) -> nn.Module:
    config = Config.fromfile(str(ROOT / "configs" / f"{name}_tiny_digits.py"))
    config.model.update(options)
    return build_model(config)


def test_distinct_queries_are_the_best_proposals_of_which_none_repeats_a_better_one() -> None:
    model = tiny_with("brs_detr/brs-detr", num_queries=5, query_nms=0.5)
    corners = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3.6], [5, 5, 9, 9], [0, 0, 4, 4], [5, 5, 9, 8.8], [0, 5, 4, 9]])
    boxes = bbox_xyxy_to_cxcywh(torch.stack([corners, corners.roll(1, 0)]) / 10)
    logits = torch.tensor([[5.0, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]])
    chosen = model._choose_proposals(logits, boxes)  # three and three are distinct: others fill up, best first
    assert chosen.tolist() == [[0, 2, 5, 1, 3], [5, 4, 0, 3, 2]]
    model.query_nms = None
    assert model._choose_proposals(logits, boxes).tolist() == [[0, 1, 2, 3, 4], [5, 4, 3, 2, 1]]


@pytest.mark.parametrize("query_nms", [0, 1.0, float("nan")])
def test_query_nms_is_an_iou(query_nms: float) -> None:
    with pytest.raises(InputError, match=r"model.query_nms is .*: it is an IoU"):
        tiny_with("brs_detr/brs-detr", query_nms=query_nms)


def test_co_dino_has_no_distinct_queries() -> None:
    with pytest.raises(InputError, match=r"model.query_nms is no option of CoDINO"):
        tiny_with("brs_dino/brs-dino", query_nms=0.7)
