"""Two-stage detectors need as many encoder proposals as they have queries; `torch.topk` fails without a reason.

A training on images too small for that is refused. An evaluation may meet a single long and narrow image, alone in its
batch: it gets the proposals that padding beside a larger image would have given it.
"""

from collections.abc import Callable
from functools import wraps

import torch
import torch.nn.functional as F
from mmdet.models import DDQDETR, DINO, DeformableDETR
from torch import Tensor

from brs_detr.errors import InputError

Generate = Callable[[DeformableDETR, Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor]]


def at_least_the_queries(generate: Generate) -> Generate:
    """Decorate ``gen_encoder_output_proposals``, whose (N, S, channels) and (N, S, 4) get an S of num_queries or more.

    Raises:
        InputError: in training, images are too small for the number of queries.
    """

    @wraps(generate)
    def generated(
        self: DeformableDETR, memory: Tensor, memory_mask: Tensor | None, spatial_shapes: Tensor
    ) -> tuple[Tensor, Tensor]:
        features, anchors = generate(self, memory, memory_mask, spatial_shapes)
        missing = self.num_queries - features.shape[1]
        if missing <= 0:
            return features, anchors
        if self.training:
            raise InputError(
                f"Images of this size give {features.shape[1]} encoder proposals, fewer than the {self.num_queries} "
                "queries: enlarge them (--image-size, or the scales of the pipeline), or lower model.num_queries."
            )
        padding = memory.new_zeros(len(memory), missing, memory.shape[2])
        padded = self.memory_trans_norm(self.memory_trans_fc(padding))
        return torch.cat([features, padded], dim=1), F.pad(anchors, (0, 0, 0, missing), value=torch.inf)

    return generated


def check_dino() -> None:
    """Let mmdet's DINO do so, too; DDQ takes fewer, as it is."""
    if not hasattr(DINO.gen_encoder_output_proposals, "__wrapped__"):
        DINO.gen_encoder_output_proposals = at_least_the_queries(DINO.gen_encoder_output_proposals)
        DDQDETR.gen_encoder_output_proposals = DeformableDETR.gen_encoder_output_proposals
