"""Every Mask R-CNN config builds; the small ones take real steps on digits with silhouettes, and evaluate masks."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from torch import nn

from brs_detr.data.checks import check_data
from tests.reference import ROOT

CONFIGS = sorted((ROOT / "configs" / "mask_rcnn").glob("*.py"))
TINY = [path for path in CONFIGS if "tiny" in path.stem]


def load(path: Path, digits: Path) -> Config:
    """A small config whose data are the digits of the tests."""
    cfg = Config.fromfile(path)
    for split in ("train", "val"):
        cfg[f"{split}_dataloader"].dataset.data_root = str(digits)
    cfg.val_evaluator.ann_file = str(digits / "annotations" / "val.json")
    return cfg


def build_model(cfg: Config) -> nn.Module:
    torch.manual_seed(0)
    cfg.model.backbone.init_cfg = None  # no download
    return MODELS.build(cfg.model)


def test_the_folder_is_complete() -> None:
    names = {path.stem for path in CONFIGS}
    coco = {
        f"{prefix}mask-rcnn_{size}" for prefix in ("", "rs-", "brs-") for size in ("r50_fpn_1x_coco", "tiny_digits")
    }
    assert names == coco | {"brs-mask-rcnn_r50_fpn_1x_lvis-v1", "brs-mask-rcnn_r50_fpn_1x_cityscapes"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config(path: Path) -> None:
    """It builds, is short, reads masks, and evaluates boxes and masks; ranking ones have one logit a class."""
    assert len(path.read_text().splitlines()) <= 40
    cfg = Config.fromfile(path)
    with torch.device("meta"):
        roi_head = build_model(cfg).roi_head
    ranks = "brs-" in path.stem or "rs-" in path.stem
    assert roi_head.bbox_head.fc_cls.out_features == roi_head.bbox_head.num_classes + (not ranks)
    assert roi_head.mask_head.num_classes == roi_head.bbox_head.num_classes
    dataset = cfg.train_dataloader.dataset
    for pipeline in (dataset.get("dataset", dataset).pipeline, cfg.val_dataloader.dataset.pipeline):
        assert any(step.get("with_mask") for step in pipeline)
    assert cfg.val_evaluator == cfg.test_evaluator
    assert cfg.val_evaluator.metric == ["bbox", "segm"]


@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_training_steps(path: Path, digits: Path) -> None:
    """The config's optimiser on one batch: finite losses that reach all weights; that of the masks falls."""
    torch.manual_seed(0)
    cfg = load(path, digits)
    assert check_data(cfg) == []
    model = build_model(cfg).train()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = model.data_preprocessor(pseudo_collate([dataset[i] for i in range(4)]), training=True)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    history = []
    for _ in range(10):
        loss, logged = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
        assert all(torch.isfinite(value).all() for value in logged.values())
        optim_wrapper.update_params(loss)
        history.append(float(logged.get("mask_unscaled", logged["loss_mask"]).detach()))
    assert history[-1] < 0.95 * history[0]  # 0.81 to 0.91 of it with most seeds
    optim_wrapper.backward(model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))[0])
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("path", TINY[:1], ids=lambda path: path.stem)
def test_masks_are_evaluated(path: Path, digits: Path) -> None:
    """Ground truth as predictions has AP 1 for boxes and masks; an untrained model's detections are accepted."""
    cfg = load(path, digits)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    model = build_model(cfg).eval()
    model.roi_head.test_cfg.score_thr = 0.0
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    with torch.no_grad():
        detected = [model.test_step(pseudo_collate([dataset[i]]))[0] for i in range(len(dataset))]
    metric.process({}, [sample.to_dict() for sample in detected])
    assert {"coco/bbox_mAP", "coco/segm_mAP", "coco/score_thr"} <= metric.evaluate(len(dataset)).keys()
    for sample in detected:
        true = sample.gt_instances
        masks, scores = torch.from_numpy(true.masks.masks).bool(), torch.ones(len(true))
        sample.pred_instances = InstanceData(bboxes=true.bboxes, labels=true.labels, scores=scores, masks=masks)
    metric.process({}, [sample.to_dict() for sample in detected])
    metrics = metric.evaluate(len(dataset))
    assert metrics["coco/bbox_mAP"] == pytest.approx(1, abs=1e-3)
    assert metrics["coco/segm_mAP"] == pytest.approx(1, abs=1e-3)
