"""What DETR's decoders detect, for a batch at once, with the padding of each image as an input of the graph.

mmdet makes masks of padding in a loop over images from numbers on the host, and none at all while it is exported.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models import DeformableDETR, DetectionTransformer
from mmdet.models.dense_heads import DETRHead
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor

from brs_detr.engine.export.selection import Candidates, clipped, rows, suppressed
from brs_detr.errors import InputError


def detect(model: DetectionTransformer, maps: tuple[Tensor, ...], size: tuple[int, int], sizes: Tensor) -> Candidates:
    """Detections of the last decoder layer.

    maps: (B, C, H, W) a level. size: height and width of the input. sizes: (B, 2), of what an image holds of it.
    """
    encoder_inputs, decoder_inputs = transformer_inputs(model, maps, size, sizes)
    encoded = model.forward_encoder(**encoder_inputs)
    if (proposals := int(encoded["memory"].shape[1])) < model.num_queries:
        raise InputError(
            f"An input of {size[1]}x{size[0]} pixels gives {proposals} encoder proposals, fewer than the "
            f"{model.num_queries} queries: choose a larger --size."
        )
    queries, _ = model.pre_decoder(**encoded)
    decoded = model.forward_decoder(**{**decoder_inputs, **queries})
    logits, boxes = model.bbox_head(decoded["hidden_states"], decoded["references"])
    return _detections(model.bbox_head, logits[-1], boxes[-1], sizes)


def transformer_inputs(
    model: DeformableDETR, maps: tuple[Tensor, ...], size: tuple[int, int], sizes: Tensor
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `pre_transformer` gives the encoder and the decoder, with masks of what each image leaves empty."""
    whole = [DetDataSample(metainfo=dict(batch_input_shape=size, img_shape=size))]
    encoder_inputs, decoder_inputs = model.pre_transformer(maps, whole)
    masks = [padding(size, sizes, map_size(level)) for level in maps]
    positions = [
        (model.positional_encoding(mask).flatten(2).transpose(1, 2) + embedding)
        for mask, embedding in zip(masks, model.level_embed, strict=True)
    ]
    mask = torch.cat([level.flatten(1) for level in masks], dim=1)
    ratios = torch.stack([model.get_valid_ratio(level) for level in masks], dim=1)
    encoder_inputs.update(feat_mask=mask, feat_pos=torch.cat(positions, dim=1), valid_ratios=ratios)
    decoder_inputs.update(memory_mask=mask, valid_ratios=ratios)
    return encoder_inputs, decoder_inputs


def map_size(level: Tensor) -> tuple[int, int]:
    """Height and width of a map (B, C, H, W): constants of a graph, for its input has one size."""
    return int(level.shape[-2]), int(level.shape[-1])


def padding(size: tuple[int, int], sizes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Where a map holds nothing of an image, (B, h, w): a mask of the input, resized to `shape` by nearest pixels."""
    outside = []
    for side, cells, valid in zip(size, shape, sizes.unbind(1), strict=True):
        pixels = torch.arange(side, device=sizes.device, dtype=torch.float32)
        outside.append(F.interpolate(pixels[None, None], size=cells)[0] >= valid[:, None])
    return outside[0][:, :, None] | outside[1][:, None, :]


def _detections(head: DETRHead, logits: Tensor, boxes: Tensor, sizes: Tensor) -> Candidates:
    """The best pairs of query and class. logits: (B, Q, classes); boxes: (B, Q, 4) cxcywh in 0..1."""
    queries, classes = map(int, logits.shape[1:])
    most = min(head.test_cfg.get("max_per_img", queries), queries * classes)
    scores, places = logits.sigmoid().flatten(1).topk(most)
    query = places.div(classes, rounding_mode="floor")
    height, width = sizes.to(boxes.dtype)[:, None].unbind(2)
    scale = torch.stack([width, height, width, height], dim=2)
    corners = clipped(bbox_cxcywh_to_xyxy(rows(boxes, query)) * scale, sizes)
    found = Candidates(corners, scores, places - query * classes)
    nms = head.test_cfg.get("nms")
    return suppressed(found, nms, most) if nms else found
