"""The recorded small Faster and Cascade R-CNN, ATSS and PAA, built from this project's COCO configs."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from benchmarks.digits_configs import set_method
from tests.reference import REFERENCE, ROOT, build, load_reader

CONFIGS = dict(
    faster="faster_rcnn/{}faster-rcnn", cascade="cascade_rcnn/{}cascade-rcnn", atss="atss/{}atss", paa="paa/{}paa"
)
NAMES = dict(loss_rank="loss_roi_rank", loss_sort="loss_roi_sort", loss_bbox="loss_roi_bbox")


def load_detectors() -> ModuleType:
    return load_reader(REFERENCE / "detectors")


def in_recorded_size(model: ConfigDict) -> ConfigDict:
    """Base width 8, 64 channels, 7 classes; one stacked convolution, 64 fully connected features."""
    sizes = dict(in_channels=64, feat_channels=64, fc_out_channels=64, stacked_convs=1, num_classes=7)
    model.backbone.update(base_channels=8, init_cfg=None)
    model.neck.update(in_channels=[32, 64, 128, 256], out_channels=64)
    heads = [model.get("bbox_head"), model.get("rpn_head")]
    if "roi_head" in model:
        for proposals in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
            proposals.min_bbox_size = -1  # the released code keeps boxes without area, which 0 drops here
        model.roi_head.bbox_roi_extractor.out_channels = 64
        box_heads = model.roi_head.bbox_head
        heads += box_heads if isinstance(box_heads, list) else [box_heads]
    for head in filter(None, heads):
        head.update({key: value for key, value in sizes.items() if key in head})
    return model


def recorded_model(detector: str, variant: str, method: str) -> nn.Module:
    """`detector` with the loss of the config prefix `variant`, summed by `method`, and the recorded weights."""
    path = CONFIGS[detector].format(variant + "-") + "_r50_fpn_1x_coco.py"
    cfg = Config.fromfile(str(ROOT / "configs" / path))
    in_recorded_size(cfg.model)
    set_method(cfg.model, method)
    return build(cfg, load_detectors().state(detector))


def batch(arrays: dict[str, np.ndarray], without_boxes: tuple[int, ...] = ()) -> tuple[Tensor, list[DetDataSample]]:
    """The recorded images, and their ground truth but for the images `without_boxes`."""
    images = torch.from_numpy(arrays["in.img"])
    samples = []
    for i in range(len(images)):
        shape = tuple(int(s) for s in arrays[f"in.img_shape.{i}"][:2])
        scale = tuple(float(s) for s in arrays[f"in.scale_factor.{i}"][:2])
        sample = DetDataSample(
            metainfo=dict(
                img_shape=shape, pad_shape=shape, batch_input_shape=tuple(images.shape[-2:]), scale_factor=scale
            )
        )
        count = 0 if i in without_boxes else None
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(arrays[f"in.gt_bboxes.{i}"])[:count],
            labels=torch.from_numpy(arrays[f"in.gt_labels.{i}"])[:count],
        )
        samples.append(sample)
    return images, samples


def released_name(name: str, two_stage: bool) -> str:
    """The name under which the released code logs this project's loss `name`."""
    stage, dot, name = name.rpartition(".")
    return stage + dot + (NAMES.get(name, name) if two_stage else name)


@contextmanager
def recorded_rpn_labels(model: nn.Module, arrays: dict[str, np.ndarray]) -> Iterator[None]:
    """The RPN's recorded targets. Three of Cascade's labels hang on ties of IoUs, and so on the order of sums."""
    levels = range(5)
    labels = [torch.from_numpy(arrays[f"rpn_targets.labels.{level}"]) for level in levels]
    weights = [torch.from_numpy(arrays[f"rpn_targets.label_weights.{level}"]) for level in levels]
    get_targets = model.rpn_head.get_targets

    def recorded(*args: Any, **kwargs: Any) -> tuple:
        anchors, own_labels, _, *rest = get_targets(*args, **kwargs)
        assert sum(int((a != b).sum()) for a, b in zip(own_labels, labels, strict=True)) <= 3
        return (anchors, labels, weights, *rest)

    with mock.patch.object(model.rpn_head, "get_targets", recorded):
        yield


def match(found: InstanceData, boxes: np.ndarray, labels: np.ndarray, tolerance: float = 1e-4) -> None:
    """The same detections in any order. boxes: (D, 5), xyxy and score."""
    ours = torch.cat([found.bboxes, found.scores[:, None], found.labels[:, None]], dim=1)
    recorded = torch.cat([torch.from_numpy(boxes), torch.from_numpy(labels)[:, None]], dim=1).float()
    distance = (ours[:, None] - recorded).abs().amax(-1)
    assert len(ours) == len(recorded)
    assert distance.amin(0).max() < tolerance
    assert distance.amin(1).max() < tolerance
