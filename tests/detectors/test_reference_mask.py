"""Mask R-CNN with Rank & Sort Loss against the released code, and where that code breaks."""

import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from torch import Tensor, nn

from brs_detr.heads.roi_heads import MaskSamples, RankingFCNMaskHead, choose
from tests.detectors.recorded_classical import batch, in_recorded_size, load_detectors, set_method
from tests.detectors.recorded_training import total
from tests.reference import ROOT, build, needs_reference

pytestmark = needs_reference
CASES = {"": (), "_nogt1": (1,)}
METHODS = {"rs": "pairwise", "brs": "bucketed"}


def recorded_model(method: str = "exact", **roi_head: Any) -> nn.Module:
    cfg = Config.fromfile(str(ROOT / "configs" / "mask_rcnn" / "brs-mask-rcnn_r50_fpn_1x_coco.py"))
    in_recorded_size(cfg.model)
    set_method(cfg.model, method)
    cfg.model.roi_head.update(roi_head)
    cfg.model.roi_head.mask_roi_extractor.out_channels = 64
    cfg.model.roi_head.mask_head.update(num_convs=2, in_channels=64, conv_out_channels=32, num_classes=7)
    return build(cfg, load_detectors().state("mask")).train()


def recorded_batch(without_boxes: tuple[int, ...] = ()) -> tuple[Tensor, SampleList]:
    arrays = load_detectors().arrays("mask", "rs")
    images, samples = batch(arrays, without_boxes)
    for i, sample in enumerate(samples):
        masks = arrays[f"in.gt_masks.{i}"]
        sample.gt_instances.masks = BitmapMasks(masks[: len(sample.gt_instances)], *masks.shape[1:])
    return images, samples


def released(losses: dict[str, Tensor]) -> dict[str, float]:
    """Losses by the released names; the RPN's are a list there and here."""
    names = dict(loss_rank="loss_roi_rank", loss_sort="loss_roi_sort", loss_bbox="loss_roi_bbox")
    return {names.get(name, name): float(value.detach()) for name, value in losses.items() if "loss" in name}


def gradient_norm(model: nn.Module, group: str) -> float:
    gradients = [p.grad for name, p in model.named_parameters() if name.startswith(group) and p.grad is not None]
    return math.sqrt(sum(float(g.double().square().sum()) for g in gradients))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", METHODS)
def test_training_step(variant: str, case: str) -> None:
    """Losses to 1e-4 and gradient norms by group of parameters to 1e-3, relative."""
    recorded = load_detectors().results("mask")[variant + case]
    model = recorded_model(METHODS[variant])
    losses = model.loss(*recorded_batch(CASES[case]))
    assert released(losses) == pytest.approx(recorded["losses"], rel=1e-4)
    assert float(losses["mask_unscaled"]) == pytest.approx(recorded["balance"]["mask"]["raw_mask_loss"], rel=1e-4)
    total(losses).backward()
    groups = recorded["grad_norm_groups"]
    assert {group: gradient_norm(model, group) for group in groups} == pytest.approx(groups, rel=1e-3)


def test_mask_targets_and_dice() -> None:
    """Targets, losses of single masks, their weights and the gradient at the mask logits."""
    arrays = load_detectors().arrays("mask", "rs")
    model = recorded_model("pairwise")
    seen: dict[str, Any] = {}
    original = RankingFCNMaskHead.loss_and_target

    def spy(head: nn.Module, mask_preds: Tensor, sampling_results: list[MaskSamples], *args: Any) -> dict:
        mask_preds.retain_grad()
        result = original(head, mask_preds, sampling_results, *args)
        seen.update(logits=mask_preds, samples=sampling_results, targets=result["mask_targets"])
        return result

    with mock.patch.object(RankingFCNMaskHead, "loss_and_target", lambda head, **kwargs: spy(head, *kwargs.values())):
        total(model.loss(*recorded_batch())).backward()
    labels = torch.cat([image.pos_gt_labels for image in seen["samples"]])
    assert labels.tolist() == arrays["mask.labels"].tolist()
    scores = torch.cat([image.scores for image in seen["samples"]])
    np.testing.assert_allclose(scores, arrays["mask.bbox_weights"], rtol=1e-4)
    assert (seen["targets"].numpy() != arrays["mask_targets"]).mean() < 1e-3  # rounding at the half of a pixel
    rows = torch.arange(len(labels))
    chosen = seen["logits"][rows, labels]
    dice = 1 - model.roi_head.mask_head.loss_mask(chosen, seen["targets"], reduction_override="none")
    np.testing.assert_allclose(dice.detach(), arrays["mask.dice"], rtol=1e-3)
    gradient = seen["logits"].grad[rows, labels].numpy()
    np.testing.assert_allclose(gradient, arrays["grad_out.mask_pred"], atol=1e-3 * np.abs(gradient).max())


@pytest.mark.parametrize(("threshold", "name"), [(0.4, "shipped"), (0.05, "0.05")])
def test_detections(threshold: float, name: str) -> None:
    arrays, model = load_detectors().detections("mask"), recorded_model().eval()
    model.test_cfg.rcnn.score_thr = model.roi_head.test_cfg.score_thr = threshold
    images, samples = recorded_batch()
    for sample in samples:
        original = tuple(round(side / sample.scale_factor[0]) for side in sample.img_shape)
        sample.set_metainfo(dict(ori_shape=original))
    with torch.no_grad():
        found = model.predict(images, samples, rescale=True)
    for i, sample in enumerate(found):
        boxes = arrays[f"det_thr{name}.{i}.bboxes"]
        instances = sample.pred_instances
        np.testing.assert_allclose(instances.scores, boxes[:, 4], rtol=1e-4)
        np.testing.assert_allclose(instances.bboxes, boxes[:, :4], rtol=1e-4, atol=1e-2)
        assert instances.labels.tolist() == arrays[f"det_thr{name}.{i}.labels"].tolist()
        assert instances.masks.shape == (len(boxes), *sample.ori_shape)
        assert instances.masks.dtype == torch.bool


def test_a_batch_without_boxes_has_a_zero_gradient_everywhere() -> None:
    model = recorded_model()
    losses = model.loss(*recorded_batch((0, 1)))
    assert all(value == 0 for value in released(losses).values())
    total(losses).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and not p.grad.any() for p in trained)


def test_beyond_the_limit_masks_and_weights_stay_together() -> None:
    """Each of 84 objects carries its number as its score; those kept carry the box, label and object of that number."""
    boxes = torch.arange(84.0)[:, None].expand(-1, 4)
    numbers = torch.arange(84)
    images = [
        MaskSamples(boxes[s], numbers[s] * 2, numbers[s] * 3, numbers[s].float()) for s in (slice(43), slice(43, 84))
    ]
    kept = choose(images, 20)
    assert sum(len(image.scores) for image in kept) == 20
    for image in kept:
        assert torch.equal(image.pos_priors[:, 0], image.scores)
        assert torch.equal(image.pos_assigned_gt_inds.float(), 2 * image.scores)
        assert torch.equal(image.pos_gt_labels.float(), 3 * image.scores)
    assert (kept[0].scores < 43).all()
    assert (kept[1].scores >= 43).all()
    assert choose(images, 84) is images


def test_more_objects_than_masks() -> None:
    """With the most masks below the number of positives the loss is a weighted mean over fewer, and trains."""
    torch.manual_seed(0)
    model = recorded_model(max_masks=20)
    with mock.patch.object(
        model.roi_head.mask_head, "get_targets", wraps=model.roi_head.mask_head.get_targets
    ) as targets:
        losses = model.loss(*recorded_batch())
    assert sum(len(image.scores) for image in targets.call_args.args[0]) == 20
    balanced, ranking = losses["loss_mask"].detach(), losses["loss_rank"].detach() + losses["loss_sort"].detach()
    assert float(balanced) == pytest.approx(float(ranking), rel=1e-5)
    total(losses).backward()
    assert gradient_norm(model, "roi_head.mask_head") > 0


def test_beside_ap_loss_nothing_is_balanced() -> None:
    ap = dict(type="APLoss", use_sigmoid=True)
    model = recorded_model()
    model.roi_head.bbox_head.loss_cls = MODELS.build(ap)
    losses = model.loss(*recorded_batch())
    assert torch.equal(losses["loss_mask"], losses["mask_unscaled"])
    assert "loss_sort" not in losses


def test_masks_need_features_of_their_own() -> None:
    cfg = Config.fromfile(str(ROOT / "configs" / "mask_rcnn" / "brs-mask-rcnn_tiny_digits.py"))
    cfg.model.roi_head.mask_roi_extractor = None
    with pytest.raises(ValueError, match="RankingRoIHead needs a mask_roi_extractor of its own"):
        MODELS.build(cfg.model)


def test_rois_keep_their_precision() -> None:
    """Under mixed precision the maps are bfloat16, whose numbers near 150 are one pixel apart."""
    model = recorded_model().eval()
    maps = tuple(torch.randn(1, 64, 32 // 2**level, 40 // 2**level).bfloat16() for level in range(5))
    rois = torch.tensor([[0.0, 130.3, 90.4, 151.7, 120.6]])
    with torch.no_grad():
        for forward in (model.roi_head._bbox_forward, model.roi_head._mask_forward):
            mixed, exact = forward(maps, rois), forward(tuple(level.float() for level in maps), rois)
            for key in exact:
                assert torch.equal(mixed[key], exact[key])
