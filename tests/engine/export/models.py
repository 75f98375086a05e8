"""Tiny detectors whose random scores are spread out, so that rounding decides no rank."""

from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import Tensor

from brs_detr.engine.export.comparing import Batch
from brs_detr.engine.setup.config import load_config

BRS_DETR = "configs/brs_detr/brs-detr_tiny_digits.py"
FASTER = "configs/faster_rcnn/faster-rcnn_tiny_digits.py"


def config_of(path: str, **options: Any) -> Config:
    return load_config(path, {key.replace("__", "."): value for key, value in options.items()}, None)


@torch.no_grad()
def built(config: Config, seed: int = 0) -> Any:
    """The model in evaluation mode; boxes depend on content, too."""
    torch.manual_seed(seed)
    model: Any = MODELS.build(config.model)
    model.init_weights()
    for parameter in model.parameters():
        if parameter.numel() > 1:
            scale = 0.3 if parameter.dim() == 1 else max(0.5 * float(parameter.std()), 0.02)
            parameter += scale * torch.randn_like(parameter)
    return model.eval()


def batch(size: tuple[int, int], images: int, seed: int = 0) -> Batch:
    """Noise of which every second image leaves a part of the input empty."""
    generator = torch.Generator().manual_seed(seed)
    (height, width), sizes = size, []
    pixels: Tensor = torch.zeros(images, 3, height, width)
    for image in range(images):
        valid = (height - 37, width) if image % 3 == 1 else (height, width - 21) if image % 3 == 2 else size
        pixels[image, :, : valid[0], : valid[1]] = torch.randn(3, *valid, generator=generator)
        sizes.append(valid)
    return Batch(pixels, torch.tensor(sizes))
