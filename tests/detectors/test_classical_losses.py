"""What the losses of the tiny classical detectors are made of."""

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from tests.configs.test_configs import build_model
from tests.reference import ROOT
from tests.samples import make_batch


def tiny_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(Config.fromfile(str(ROOT / "configs" / f"{name}_tiny_digits.py"))).train()


def losses_of(model: nn.Module) -> dict[str, Tensor]:
    batch = model.data_preprocessor(make_batch([3, 2], 10), training=True)
    return model.loss(batch["inputs"], batch["data_samples"])


@pytest.mark.parametrize("name", ["atss/bap-atss", "paa/bap-paa"])
def test_ap_loss_leaves_the_box_loss_alone(name: str) -> None:
    losses = losses_of(tiny_model(name))
    assert set(losses) == {"loss_rank", "loss_bbox", "bbox_unscaled"}
    assert torch.equal(losses["loss_bbox"].detach(), losses["bbox_unscaled"])


@pytest.mark.parametrize("name", ["atss/brs-atss", "paa/brs-paa", "cascade_rcnn/brs-cascade-rcnn"])
def test_rank_and_sort_loss_balances_the_box_loss(name: str) -> None:
    losses = losses_of(tiny_model(name))
    boxes = [key for key in losses if key.endswith("loss_bbox")]
    assert len(boxes) == (3 if "cascade" in name else 1)
    for key in boxes:
        stage = key.removesuffix("loss_bbox")
        torch.testing.assert_close(losses[key], losses[stage + "loss_rank"] + losses[stage + "loss_sort"])


def test_box_weight_beside_ap_loss() -> None:
    """ATSS weighs it 2, as published; the boxes themselves are the same."""
    model = tiny_model("atss/bap-atss")
    doubled = losses_of(model)["loss_bbox"]
    model.bbox_head.loss_bbox.loss_weight = 1.0
    torch.testing.assert_close(doubled, 2 * losses_of(model)["loss_bbox"])


def test_unscaled_box_losses_of_cascade_stages_are_logged_but_not_added() -> None:
    model = tiny_model("cascade_rcnn/brs-cascade-rcnn")
    losses = losses_of(model)
    assert {f"s{stage}.bbox_unscaled" for stage in range(3)} <= losses.keys()
    total, _ = model.parse_losses(losses)
    torch.testing.assert_close(total, sum(value for key, value in losses.items() if "loss" in key))


def test_paa_scores_are_the_class_scores() -> None:
    """Score voting moves boxes; scores stay the plain sigmoid, without the root of score x IoU."""
    model = tiny_model("paa/brs-paa").eval()
    batch = model.data_preprocessor(make_batch([3], 10))
    with torch.no_grad():
        logits, _ = model.bbox_head(model.extract_feat(batch["inputs"]))
        (sample,) = model.predict(batch["inputs"], batch["data_samples"])
    highest = torch.cat([level.flatten() for level in logits]).max().sigmoid()
    torch.testing.assert_close(sample.pred_instances.scores.max(), highest)


def test_a_softmax_loss_cannot_rank() -> None:
    cfg = Config.fromfile(str(ROOT / "configs/atss/brs-atss_tiny_digits.py"))
    cfg.model.bbox_head.loss_cls.pop("use_sigmoid")
    with pytest.raises(ValueError, match="RankingATSSHead ranks sigmoid logits: give its loss_cls use_sigmoid=True"):
        build_model(cfg)
