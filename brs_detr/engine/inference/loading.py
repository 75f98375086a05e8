"""What a config says of prediction: its model, with weights, its test pipeline, its classes, and where ids stand."""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from brs_detr.data.checks import check_class_counts, classes_of, coco_source, leaf_datasets
from brs_detr.data.coco_file import CocoSource
from brs_detr.engine import class_order
from brs_detr.engine.progress import console
from brs_detr.engine.running.divergence import watch_heads
from brs_detr.errors import printable
from brs_detr.weights import load_content, read_checkpoint

_building = threading.Lock()  # mmengine's default scope is one of the process


@contextmanager
def within_scope(config: Config) -> Iterator[None]:
    """Let names of types be found in the config's scope meanwhile, by one thread at a time."""
    with _building, DefaultScope.overwrite_default_scope(config.get("default_scope", "mmdet")):
        yield


def class_names(config: Config) -> tuple[str, ...]:
    """The classes of the config's test data."""
    return classes_of(next(leaf_datasets(config.test_dataloader.dataset)))


def coco_sources(config: Config) -> list[CocoSource]:
    """The COCO files of the config's test and validation data."""
    loaders = [config.get(f"{split}_dataloader") for split in ("test", "val")]
    found = [coco_source(dataset, []) for loader in loaders if loader for dataset in leaf_datasets(loader.dataset)]
    return list(dict.fromkeys(source for source in found if source))


def pipeline_of(config: Config) -> Compose:
    """The config's test pipeline, for pixels in place of files."""
    steps = get_test_pipeline_cfg(config)
    with within_scope(config):
        return Compose([{"type": "mmdet.LoadImageFromNDArray"}, *steps[1:]])


def load_model(
    config: Config, checkpoint: str, device: str | torch.device, content: dict[str, Any] | None = None
) -> BaseModel:
    """The config's model in evaluation mode with the checkpoint's weights.

    content: of the checkpoint, where it has been read.

    Raises:
        InputError: the checkpoint cannot be read or does not fit, or has the classes in another order.
    """
    check_class_counts(config.model, class_names(config))
    content = read_checkpoint(checkpoint) if content is None else content
    for remark in class_order.compare(config, "test", checkpoint, content):
        console.warn(printable(remark))
    with within_scope(config), torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
        model = MODELS.build(copy.deepcopy(config.model))  # detectors add to their configs
    load_content(model, content, checkpoint, whole=True)
    watch_heads(model)
    return model.to(device).eval()
