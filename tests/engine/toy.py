"""A detector of a few hundred weights with all that makes a training depend on its past, to be trained in seconds."""

from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from tests.scripts.processes import write_config

PIPELINE = [
    dict(type="LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomChoiceResize", scales=[(s, s) for s in (32, 48, 64)], keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]


@MODELS.register_module()
class ToyDetector(BaseModel):
    """One box an image; normalisation has running means, dropout draws random numbers."""

    def __init__(self, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.dropout, self.box_head = nn.Dropout(0.3), nn.Linear(128, 4)

    def forward(self, inputs: Tensor, data_samples: list, mode: str = "tensor") -> Any:
        boxes = 64 * self.box_head(self.dropout(self.layers(inputs))).sigmoid()
        if mode == "loss":
            truth = torch.stack([sample.gt_instances.bboxes.sum(0) for sample in data_samples])
            return {"loss_bbox": (boxes - truth).abs().mean()}
        for sample, box in zip(data_samples, boxes, strict=True):
            found = InstanceData(bboxes=box[None], scores=torch.ones(1), labels=torch.zeros(1, dtype=torch.long))
            sample.pred_instances = found
        return data_samples


def write_toy_config(folder: Path, data: Path) -> Path:
    """The toy on this data for six epochs, as one file without bases, which is read quickly."""
    config = Config.fromfile(write_config(folder, data))
    config.model = dict(type="ToyDetector", data_preprocessor=config.model.data_preprocessor)
    config.custom_imports.imports.append(__name__)
    config.train_dataloader.dataset.pipeline = PIPELINE
    config.custom_hooks = [dict(type="EMAHook", momentum=0.1)]
    config.train_cfg.max_epochs = 6
    config.randomness = dict(seed=3)
    config.optim_wrapper.update(accumulative_counts=2, optimizer=dict(type="AdamW", lr=1e-2))
    config.param_scheduler = [
        dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4),
        dict(type="MultiStepLR", by_epoch=True, milestones=[3]),
    ]
    path = folder / "toy.py"
    config.dump(path)
    return path


def write_iterations_config(config: Path) -> Path:
    """The toy by iterations, as many, with an evaluation after every fifth: half of them amid a step."""
    changed = Config.fromfile(config)
    changed.train_cfg = dict(type="IterBasedTrainLoop", max_iters=30, val_interval=5)
    changed.train_dataloader.sampler = dict(type="InfiniteSampler")
    changed.default_hooks.checkpoint.update(by_epoch=False, interval=4)
    changed.log_processor = dict(by_epoch=False)
    changed.param_scheduler = changed.param_scheduler[:1]
    path = config.with_name("toy_iterations.py")
    changed.dump(path)
    return path
