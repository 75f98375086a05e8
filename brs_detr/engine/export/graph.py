"""A detector as one function of tensors: images and their sizes in; boxes, scores and labels out."""

from typing import Any

import torch
from mmdet.models import DeformableDETR, SingleStageDetector
from torch import Tensor, nn

from brs_detr.data.calibration import Calibration
from brs_detr.detectors import CoDETR
from brs_detr.engine.export import decoders, dense, regions
from brs_detr.engine.export.scores import PiecewiseLinear
from brs_detr.engine.export.selection import Candidates
from brs_detr.engine.export.support import check_supported


class DetectionGraph(nn.Module):
    """Detections of a model in evaluation mode, without any loop over images or number on the host.

    size: height and width of the input. calibration: of the scores, if any.

    Raises:
        InputError: the model is of a kind that no graph is known for.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int], calibration: Calibration | None = None) -> None:
        super().__init__()
        check_supported(model)
        self.model, self.size = model, size
        self.calibration = PiecewiseLinear(calibration) if calibration else nn.Identity()

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (B, K, 4) xyxy in pixels of the input, scores (B, K), labels (B, K); best first.

        Where an image has fewer detections than K the rest has score 0, label -1 and an empty box.

        images: (B, 3, H, W), normalised, 0 where there is padding. sizes: (B, 2) int64, height and width of what each
            holds of the input, from its upper left corner on.
        """
        found = detections(self.model, images, self.size, sizes)
        valid = found.scores >= 0
        scores = self.calibration(found.scores.clamp(min=0)) * valid
        return found.boxes * valid[..., None], scores, found.labels.where(valid, torch.full_like(found.labels, -1))


def detections(model: Any, images: Tensor, size: tuple[int, int], sizes: Tensor) -> Candidates:
    """What the model's `predict` finds."""
    maps = model.extract_feat(images)
    if isinstance(model, CoDETR) and model.eval_module != "detr":
        encoder_inputs, _ = decoders.transformer_inputs(model, maps, size, sizes)
        memory = model.forward_encoder(**encoder_inputs)["memory"]
        maps = model.memory_maps(memory, [decoders.map_size(level) for level in maps])
        if model.eval_module == "one-stage":
            return dense.detect(model.atss_head, maps, sizes)
    elif isinstance(model, DeformableDETR):
        return decoders.detect(model, maps, size, sizes)
    elif isinstance(model, SingleStageDetector):
        return dense.detect(model.bbox_head, maps, sizes)
    return regions.detect(model.roi_head, maps, dense.propose(model.rpn_head, maps, sizes), sizes)
