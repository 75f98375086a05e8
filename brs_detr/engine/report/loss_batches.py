"""Batches of the test data on which a model in evaluation mode computes its losses, as large as the training's."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from torch import nn

from brs_detr.data.checks import leaf_datasets
from brs_detr.engine.inference.loading import within_scope


def pipeline_with_truth(pipeline: list[ConfigDict]) -> list[ConfigDict]:
    """A test pipeline that reads the objects before it resizes, so that they are resized as well."""
    truth = [step for step in pipeline if step["type"] == "LoadAnnotations"] or [
        ConfigDict(type="LoadAnnotations", with_bbox=True)
    ]
    others = [step for step in pipeline if step["type"] != "LoadAnnotations"]
    return [others[0], *truth, *others[1:]]


def loader_of(config: Config) -> Any:
    """Batches of the test data, as large as the training's."""
    settings = copy.deepcopy(config.test_dataloader)
    settings.update(
        batch_size=(config.get("train_dataloader") or settings).get("batch_size", 1),
        num_workers=0,
        persistent_workers=False,
    )
    for dataset in leaf_datasets(settings.dataset):
        dataset.pipeline = pipeline_with_truth(dataset.pipeline)
    with within_scope(config):
        return Runner.build_dataloader(settings)


@contextmanager
def losses_in_evaluation(model: nn.Module) -> Iterator[None]:
    """The model computes its losses; dropout and statistics stay those of evaluation."""
    switched = [each for each in (model, *(getattr(model, name, None) for name in ("bbox_head", "decoder"))) if each]
    try:
        for module in switched:
            module.training = True  # the flag alone, not that of the modules inside
        yield
    finally:
        model.eval()
