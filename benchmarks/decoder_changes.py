"""What `decoder.py` changes of the published recipe: options of the config by name."""

from typing import Any

from brs_detr.data.digits import CLASSES

from .by_class import RankSortLossByClass

PUBLISHED = "as published"
RPN = "rpn_head"
HEADS = ("bbox_head", RPN, "roi_head.bbox_head", "atss_head")


def class_cost(weight: float) -> dict[str, Any]:
    return {"model.train_cfg.detr.assigner.match_costs.0.weight": weight}


def ranking(**options: Any) -> dict[str, Any]:
    """Options of every ranking loss."""
    return {f"model.{head}.loss_cls.{key}": value for head in HEADS for key, value in options.items()}


def by_class() -> dict[str, Any]:
    """Each class ranked by itself; the RPN has one."""
    return {
        f"model.{head}.loss_cls.{key}": value
        for head in HEADS
        if head != RPN
        for key, value in {"type": RankSortLossByClass.__name__, "classes": len(CLASSES)}.items()
    }


CHANGES: dict[str, dict[str, Any]] = {
    PUBLISHED: {},
    "fixed box weights": {  # those of Co-DETR, not balanced to the ranking
        "model.bbox_head.balance_boxes": False,
        "model.bbox_head.loss_bbox.loss_weight": 5.0,
        "model.bbox_head.loss_iou.loss_weight": 2.0,
    },
    "distinct queries": {"model.query_nms": 0.7},  # by an IoU of 0.7
    "distinct by IoU 0.5": {"model.query_nms": 0.5},
    "helpers at half the weight": {
        "model.rpn_head.loss_cls.loss_weight": 0.5,
        "model.roi_head.bbox_head.loss_cls.loss_weight": 2.5,
        "model.atss_head.loss_cls.loss_weight": 2.5,
        "model.atss_head.loss_centerness.loss_weight": 6.0,
    },
    "batch of 2": {"train_dataloader.batch_size": 2},
    "full size": {"train_dataloader.dataset.pipeline.2.scales": [(160, 160)]},  # as in the evaluation
    "class cost 4": class_cost(4.0),  # BRS-DETR's own; Co-DETR has 2
    "class cost 12": class_cost(12.0),
    "class cost 20": class_cost(20.0),
    "60 auxiliary queries": {"model.max_auxiliary_queries": 60},
    "30 queries": {"model.num_queries": 30},
    "half the rate": {"optim_wrapper.optimizer.lr": 5e-4},
    "twice the rate": {"optim_wrapper.optimizer.lr": 2e-3},
    "clip 1": {"optim_wrapper.clip_grad.max_norm": 1.0},
    "delta 0": ranking(delta=0.0),
    "delta 0.25": ranking(delta=0.25),
    "delta 1": ranking(delta=1.0),
    "published buckets": ranking(method="bucketed"),  # inexact for delta > 0
    "zero IoU is negative": {f"model.{head}.zero_iou_is_negative": True for head in HEADS},
    "ranked by class": by_class(),
}
OF_RANKING = (
    *("fixed box weights", "helpers at half the weight", "delta 0", "delta 0.25", "delta 1"),
    *("published buckets", "zero IoU is negative", "ranked by class"),
)
PLAN = {"BRS-DETR": [*CHANGES], "Co-DETR": [name for name in CHANGES if name not in OF_RANKING]}
QUICK_START = ("BRS-DETR", "distinct by IoU 0.5, fixed box weights, batch of 2")  # its recipe
