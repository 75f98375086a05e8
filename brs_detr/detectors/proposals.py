"""Two-stage detectors need as many encoder proposals as they have queries; `torch.topk` fails without a reason."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from mmdet.models import DINO
from torch import Tensor

from brs_detr.errors import InputError

PreDecoder = Callable[..., tuple[dict, dict]]


def check_number_of_proposals(memory: Tensor, queries: int) -> None:
    """Raises InputError if images are too small for the number of queries. memory: (N, proposals, channels)."""
    if memory.shape[1] < queries:
        raise InputError(
            f"Images of this size give {memory.shape[1]} encoder proposals, fewer than the {queries} "
            "queries: enlarge them (--image-size, or the scales of the pipeline), or lower model.num_queries."
        )


def checked(pre_decoder: PreDecoder) -> PreDecoder:
    @wraps(pre_decoder)
    def checked_pre_decoder(self: DINO, memory: Tensor, *args: Any, **kwargs: Any) -> tuple[dict, dict]:
        check_number_of_proposals(memory, self.num_queries)
        return pre_decoder(self, memory, *args, **kwargs)

    return checked_pre_decoder


def check_dino() -> None:
    """Let mmdet's DINO, too, say what is wrong; DDQ, which takes fewer, has its own method."""
    if not hasattr(DINO.pre_decoder, "__wrapped__"):
        DINO.pre_decoder = checked(DINO.pre_decoder)
