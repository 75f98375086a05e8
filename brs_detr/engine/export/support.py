"""Which models a graph is known for. For others a sentence names the class, and what it does in a way of its own.

A graph stands in for the methods listed here, as the classes beside them have written them. A model is exported where
its own methods are these, whatever else of it a derived class has changed.
"""

from collections.abc import Iterator
from typing import Any

from mmcv.ops import DeformConv2d, ModulatedDeformConv2d
from mmdet.models import (
    DINO,
    BaseRoIHead,
    BBoxHead,
    CascadeRoIHead,
    DeformableDETR,
    DeformableDETRHead,
    DetectionTransformer,
    DETRHead,
    RPNHead,
    SingleStageDetector,
    StandardRoIHead,
    TwoStageDetector,
)
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from torch import nn

from brs_detr.detectors import CoDETR, CoDINO
from brs_detr.errors import InputError
from brs_detr.heads import CoDETRHead

Methods = dict[str, tuple[type, ...]]  # by name: the classes whose own is known
DENSE: Methods = dict(
    predict_by_feat=(BaseDenseHead,), _predict_by_feat_single=(BaseDenseHead,), _bbox_post_process=(BaseDenseHead,)
)
PROPOSING: Methods = dict(
    predict_by_feat=(BaseDenseHead,), _predict_by_feat_single=(RPNHead,), _bbox_post_process=(RPNHead,)
)
REGIONS: Methods = dict(
    predict=(BaseRoIHead,),
    predict_bbox=(StandardRoIHead, CascadeRoIHead),
    _bbox_forward=(StandardRoIHead, CascadeRoIHead),
)
BOXES: Methods = dict(predict_by_feat=(BBoxHead,), _predict_by_feat_single=(BBoxHead,))
TRANSFORMER: Methods = dict(
    predict=(DetectionTransformer, CoDETR),
    pre_transformer=(DeformableDETR,),
    pre_decoder=(DeformableDETR, CoDETR, DINO, CoDINO),
)
QUERIES: Methods = dict(predict_by_feat=(DeformableDETRHead,), _predict_by_feat_single=(DETRHead, CoDETRHead))
ONE_STAGE: Methods = dict(predict=(SingleStageDetector,))
TWO_STAGE: Methods = dict(predict=(TwoStageDetector,))


def check_supported(model: nn.Module) -> None:
    """Raises InputError if there is no graph for a model, a layer or a head of it, or for how heads suppress boxes."""
    if deformable := [layer for layer in model.modules() if isinstance(layer, DeformConv2d | ModulatedDeformConv2d)]:
        raise InputError(
            f"{type(model).__name__} cannot be exported to ONNX: {type(deformable[0]).__name__} of its layers is no "
            "operator of ONNX."
        )
    for part, methods in _parts(model):
        for method, owners in methods.items():
            if not _has_known(part, method, owners):
                raise InputError(
                    f"{type(part).__name__} cannot be exported to ONNX: its {method} is none that a graph is known for."
                )
        suppression = (getattr(part, "test_cfg", None) or {}).get("nms") or {}
        if (kind := suppression.get("type", "nms")) != "nms":
            raise InputError(
                f"{type(part).__name__} cannot be exported to ONNX with {kind}, which is no operator of ONNX: set "
                "nms.type in its test_cfg to nms, by --cfg-options."
            )


def _has_known(part: Any, method: str, owners: tuple[type, ...]) -> bool:
    return next((owner for owner in type(part).__mro__ if method in vars(owner)), None) in owners


def _parts(model: Any) -> Iterator[tuple[Any, Methods]]:
    """The modules that a graph stands in for, with what they must not do otherwise."""
    detects = getattr(model, "eval_module", "detr")
    if isinstance(model, DeformableDETR):
        yield model, TRANSFORMER
        if detects == "detr":
            yield model.bbox_head, QUERIES
        elif detects == "one-stage":
            yield model.atss_head, DENSE
    elif isinstance(model, SingleStageDetector):
        yield model, ONE_STAGE
        yield model.bbox_head, DENSE
    if detects == "two-stage" or not isinstance(model, DeformableDETR | SingleStageDetector):
        yield from _two_stage_parts(model)


def _two_stage_parts(model: Any) -> Iterator[tuple[Any, Methods]]:
    if not isinstance(model, CoDETR):
        yield model, TWO_STAGE
    yield model.rpn_head, PROPOSING
    yield model.roi_head, REGIONS
    heads = model.roi_head.bbox_head
    for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
        yield head, BOXES
