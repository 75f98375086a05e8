"""A detector's many losses in a few sums over its heads and layers, for curves and for the console."""

from collections.abc import Mapping

from brs_detr.timing.loss_time import LOSS_TIME

NO_PARTS = ("loss", LOSS_TIME)  # named like losses: the total, and seconds
PARTS = {  # by the ends of the names that heads log
    "ranking": ("_rank",),
    "sorting": ("_sort",),
    "classification": ("_cls", "_classification"),
    "boxes": ("_bbox", "_iou", "_localisation", "_dfl"),
    "masks": ("_mask",),
}
OTHER = "other"


def part_of(key: str) -> str:
    return next((part for part, ends in PARTS.items() if key.endswith(ends)), OTHER)


def loss_parts(row: Mapping[str, float]) -> dict[str, float]:
    """The sum of each part that the logged values have, in the order of PARTS: ``{"ranking": 9.8, "boxes": 2.1}``.

    A self-balanced box or mask loss always equals the ranking loss; its value before balancing, `bbox_unscaled` of
    `loss_bbox`, takes its place.
    """
    sums: dict[str, float] = {}
    for key, value in row.items():
        if "loss" in key and key not in NO_PARTS:
            unscaled = key.replace("loss_", "") + "_unscaled"
            sums[part_of(key)] = sums.get(part_of(key), 0.0) + row.get(unscaled, value)
    return {part: sums[part] for part in (*PARTS, OTHER) if part in sums}
