"""The report's ranking is the loss's: the same errors and gradients, and the boxes of the samples that it ranks."""

from collections import OrderedDict
from functools import partial
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.registry import DefaultScope

from brs_detr.engine.report.crops import Crops
from brs_detr.engine.report.loss_batches import loader_of, losses_in_evaluation, pipeline_with_truth
from brs_detr.engine.report.ranking import outranked, sums
from brs_detr.engine.report.recording import detecting_head, ranked_by
from brs_detr.losses import APLoss, RankSortLoss

CONFIGS = Path(__file__).parents[3] / "configs"
HEADS = {
    "brs_detr/brs-detr": "loss_rank",
    "dino/brs-dino-4scale": "loss_rank",
    "ddq/brs-ddq-detr-4scale": "loss_rank",
    "atss/brs-atss": "loss_rank",
    "paa/brs-paa": "loss_rank",
    "faster_rcnn/brs-faster-rcnn": "loss_rank",
    "cascade_rcnn/brs-cascade-rcnn": "s2.loss_rank",
}


def config_of(name: str, digits: Path) -> Config:
    config = Config.fromfile(CONFIGS / f"{name}_tiny_digits.py")
    config.test_dataloader.dataset.data_root = str(digits)
    config.train_dataloader.batch_size = 2
    return config


@pytest.mark.parametrize("loss", [RankSortLoss(delta=0.5), RankSortLoss(delta=0), APLoss(interpolated=False)], ids=str)
def test_sums_are_those_of_the_loss(loss: RankSortLoss | APLoss) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(300, generator=generator, dtype=torch.double).requires_grad_()
    labels, classes = torch.randint(0, 4, (300,), generator=generator), 4
    positive = torch.arange(300) < 12
    terms = loss(logits, positive.double())
    ranking = terms if isinstance(terms, torch.Tensor) else terms.ranking
    ranking.backward()
    values = logits.detach()
    found = sums(values[positive], values[~positive], (labels[positive], labels[~positive]), classes, loss)
    assert float(found.errors.mean()) == pytest.approx(float(ranking.detach()), rel=1e-6)
    torch.testing.assert_close(found.gradient, logits.grad[~positive], rtol=1e-5, atol=1e-9)
    assert float(found.pairs.sum()) == pytest.approx(12 * float(ranking.detach()), rel=1e-6)
    above = (values[~positive] > values[positive][:, None] - loss.delta).sum(1)
    assert loss.delta == 0 or found.above.tolist() == above.tolist()


def test_data_are_found_in_a_process_without_a_scope(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the command line, where no runner has been built."""
    config = config_of("atss/brs-atss", digits)
    monkeypatch.setattr(DefaultScope, "_instance_dict", OrderedDict())
    assert len(loader_of(config).dataset) == 4
    assert DefaultScope.get_current_instance() is None


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str, digits: Path) -> None:
    config = config_of(name, digits)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model.eval()
    batch = model.data_preprocessor(next(iter(loader_of(config))), training=False)
    head = detecting_head(model)
    compute = partial(model.loss, batch["inputs"], batch["data_samples"])
    with torch.no_grad(), losses_in_evaluation(model):
        torch.manual_seed(1)
        ranked = ranked_by(head, compute)
        torch.manual_seed(1)
        losses = compute()
    assert not any(module.training for module in model.modules())
    places = (ranked.targets > 0).nonzero()
    boxes = torch.stack([ranked.box(*place) for place in places.tolist()])
    ious = bbox_overlaps(boxes, ranked.object_boxes[places[:, 0]], is_aligned=True)
    torch.testing.assert_close(ranked.targets[places[:, 0], places[:, 1]], ious.clamp(1e-6), atol=2e-3, rtol=1e-3)
    of_images = torch.cat([sample.gt_instances.bboxes for sample in batch["data_samples"]])
    assert all((of_images - box).abs().amax(1).min() < 0.1 for box in ranked.object_boxes[places[:, 0]])
    positive, negative = ranked.targets > 0, ranked.targets == 0
    labels = torch.arange(10).expand_as(ranked.targets)
    found = sums(
        ranked.logits[positive].double(),
        ranked.logits[negative].double(),
        (labels[positive], labels[negative]),
        10,
        head.loss_cls,
    )
    expected = float(losses[HEADS[name]]) / head.loss_cls.loss_weight
    assert float(found.errors.mean()) == pytest.approx(expected, rel=1e-4)


def test_what_is_shown(digits: Path) -> None:
    config = config_of("brs_detr/brs-detr", digits)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    crops = Crops()
    summary = outranked(config, model.eval(), 10, crops)
    assert summary is not None
    pieces = crops.cut_all()
    assert (summary["images"], summary["batch"]) == (4, 2)
    assert summary["positives"] == sum(summary["histogram"]) == sum(number for number, _ in summary["by_class"]) > 0
    errors = [shown["error"] for shown in summary["shown"]]
    assert errors == sorted(errors, reverse=True)
    assert max(errors) <= 1
    for shown in summary["shown"]:
        assert shown["error"] == pytest.approx(shown["false_positives"] / shown["rank"])
        assert all(pieces[each["crop"]]["src"].startswith("data:image/jpeg") for each in (shown, *shown["negatives"]))
    gradients = [shown["gradient"] for shown in summary["pushed"]]
    assert gradients == sorted(gradients, reverse=True)


def test_no_ranking_loss(digits: Path) -> None:
    config = config_of("atss/atss", digits)
    assert outranked(config, MODELS.build(config.model), 10, Crops()) is None


def test_objects_are_read_before_images_are_resized() -> None:
    steps = [dict(type=name) for name in ("LoadImage", "Resize", "LoadAnnotations", "PackDetInputs")]
    order = ["LoadImage", "LoadAnnotations", "Resize", "PackDetInputs"]
    assert [step["type"] for step in pipeline_with_truth(steps)] == order
    del steps[2]
    assert [step["type"] for step in pipeline_with_truth(steps)] == order
