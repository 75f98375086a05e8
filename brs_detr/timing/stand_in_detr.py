"""CoDETR's transformer, replaced by drawn queries and encoder proposals."""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models import DINO
from mmdet.structures import SampleList
from torch import Tensor, nn

from brs_detr.detectors import CoDETR

from .drawing import draw_boxes, draw_logits, jittered

Maps = tuple[Tensor, ...]


def nothing(shape: Any, device: torch.device) -> Tensor:
    """Zeros that take no memory."""
    return torch.zeros(1, device=device).expand(shape)


def replace_methods(module: nn.Module, **methods: Callable[..., Any]) -> None:
    """Of this one object."""
    for name, method in methods.items():
        setattr(module, name, method)


def replace_transformer(model: CoDETR, feats: Maps, samples: SampleList) -> Maps:
    """The detector then draws its queries, their logits and boxes. feats: its levels, (N, channels, H, W).

    Returns the maps that it then gives to its auxiliary heads.
    """
    device, images = feats[0].device, len(feats[0])
    coarsest = tuple((side + 1) // 2 for side in feats[-1].shape[2:])
    maps = (*feats, nothing((*feats[-1].shape[:2], *coarsest), device))
    length = sum(feat[0, 0].numel() for feat in feats)

    def pre_decoder(**memory: Any) -> tuple[dict, dict]:
        boxes, denoising, proposals = draw_boxes(samples, model.num_queries), {}, length
        if isinstance(model, DINO):  # it hands only the chosen proposals to its head
            _, noised, _, denoising["dn_meta"] = model.dn_query_generator(samples)
            boxes, proposals = torch.cat([noised.sigmoid(), boxes], dim=1), model.num_queries
        classes = model.bbox_head.cls_out_channels
        outputs = {
            "enc_outputs_class": draw_logits((images, proposals, classes), device),
            "enc_outputs_coord": draw_boxes(samples, proposals).requires_grad_(),
        }
        return {"reference_points": boxes}, outputs | denoising

    def forward_decoder(reference_points: Tensor, **inputs: Any) -> dict:
        return {"hidden_states": None, "references": [reference_points]}

    replace_methods(
        model,
        pre_transformer=lambda feats, samples: ({}, {}),
        forward_encoder=lambda **inputs: {"memory": None},
        pre_decoder=pre_decoder,
        forward_decoder=forward_decoder,
    )
    replace_methods(model.memory_maps, forward=lambda memory, shapes: maps)
    replace_methods(model.bbox_head, forward=lambda hidden, references: _layers(model, references[0]))
    return maps


def _layers(model: CoDETR, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (layers, N, Q, classes) and boxes (layers, N, Q, 4), close to those given."""
    layers = model.bbox_head.num_pred_layer - 1
    logits = draw_logits((layers, *boxes.shape[:2], model.bbox_head.cls_out_channels), boxes.device)
    return logits, jittered(boxes.detach().expand(layers, *boxes.shape)).requires_grad_()
