"""As many detections as there are, where an image has fewer than `test_cfg.max_per_img`.

With one class, or with DDQ's distinct queries, queries times classes can be fewer; `torch.topk` fails then.
"""

from collections.abc import Callable
from functools import wraps

from mmdet.models import DETRHead
from mmengine.structures import InstanceData
from torch import Tensor

Predict = Callable[..., InstanceData]


def capped(predict: Predict) -> Predict:
    """`DETRHead._predict_by_feat_single`, with no more detections than an image can have."""

    @wraps(predict)
    def capped_predict(
        self: DETRHead, cls_score: Tensor, bbox_pred: Tensor, img_meta: dict, rescale: bool = True
    ) -> InstanceData:
        most = cls_score.numel() if self.loss_cls.use_sigmoid else len(cls_score)
        stated = self.test_cfg
        self.test_cfg = {**stated, "max_per_img": min(stated.get("max_per_img", len(cls_score)), most)}
        try:
            return predict(self, cls_score, bbox_pred, img_meta, rescale)
        finally:
            self.test_cfg = stated

    return capped_predict


def cap_detections() -> None:
    """Let all DETR heads, mmdet's own among them, which inherit this one method, have few queries and classes."""
    if not hasattr(DETRHead._predict_by_feat_single, "__wrapped__"):
        DETRHead._predict_by_feat_single = capped(DETRHead._predict_by_feat_single)
