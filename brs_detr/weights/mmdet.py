"""Detectors whose names are this project's own: its checkpoints, and those of mmdet (2.x and 3.x)."""

from .formats import Format

OWN = Format(
    "BRS-DETR or Co-DETR of this project",
    lambda names: any(name.startswith("auxiliary_query_embedding.") for name in names),
    unused=r"^atss_head\.atss_centerness\.",
    fresh=r"^atss_head\.atss_centerness\.",
)
MMDET = Format("a detector of mmdet or this project", lambda names: True, unused=r"^ema_")
