"""The configs of the study on digits: a family, one of its losses, and a seed."""

from pathlib import Path
from typing import Any, NamedTuple

from mmdet.registry import MODELS
from mmengine.config import Config

import brs_detr.registry  # noqa: F401
from brs_detr.losses import RankingLoss

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
BALANCED = "exact, boxes balanced"
WEIGHTED = "exact, query weight 2"


def variants(baseline: str, rank_sort: str, bucketed_rank_sort: str) -> dict[str, str]:
    """The config of each loss; `bucketed` is that of `exact` with another method."""
    return {
        "baseline": baseline,
        "pairwise": rank_sort,
        "bucketed": bucketed_rank_sort,
        "exact": bucketed_rank_sort,
    }


def classical(family: str) -> dict[str, str]:
    name = family.replace("_", "-")
    return variants(*(f"{family}/{prefix}{name}" for prefix in ("", "rs-", "brs-")))


def dense(family: str) -> dict[str, str]:
    return classical(family) | {"AP": f"{family}/ap-{family}", "bucketed AP": f"{family}/bap-{family}"}


FAMILIES = {
    "faster_rcnn": classical("faster_rcnn"),
    "cascade_rcnn": classical("cascade_rcnn"),
    "mask_rcnn": classical("mask_rcnn"),
    "atss": dense("atss"),
    "paa": dense("paa"),
    "co_detr": variants("co_detr/co-deformable-detr", "rs_detr/rs-detr", "brs_detr/brs-detr"),
    "co_dino": variants("co_dino/co-dino", "brs_dino/rs-dino", "brs_dino/brs-dino")
    | dict.fromkeys((BALANCED, WEIGHTED), "brs_dino/brs-dino"),
}
CHANGES = {
    BALANCED: {  # as in BRS-DETR
        "model.bbox_head.balance_boxes": True,
        "model.bbox_head.loss_cls.loss_weight": 2.0,
        "model.bbox_head.loss_bbox.loss_weight": 1.0,
        "model.bbox_head.loss_iou.loss_weight": 1.0,
    },
    WEIGHTED: {"model.bbox_head.loss_cls.loss_weight": 2.0},  # which the released variant configures, but never applies
}


class Run(NamedTuple):
    """One training."""

    family: str
    variant: str
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        return f"{self.family}_{self.variant.replace(', ', '-').replace(' ', '-')}_{self.seed}"


def write_config(run: Run, folder: Path) -> Path:
    """The config of a run as one file in `folder`."""
    config = Config.fromfile(CONFIGS / f"{FAMILIES[run.family][run.variant]}_tiny_digits.py")
    if run.variant == "bucketed":
        set_method(config.model, "bucketed")
    config.merge_from_dict(CHANGES.get(run.variant, {}))
    return write(config, run.epochs, folder)


def write(config: Config, epochs: int, folder: Path, val_interval: int | None = None) -> Path:
    """A config as one file in `folder`: evaluation at the end only, or as given, data loaded by the same thread."""
    config.train_cfg.val_interval = val_interval or epochs
    config.default_hooks.checkpoint.save_best = None
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.py"
    config.dump(path)
    return path


def set_method(part: Any, method: str) -> None:
    """Gives every ranking loss in the config of a model another method; in place."""
    if isinstance(part, dict):
        if _is_ranking_loss(part.get("type")):
            part["method"] = method
        for child in part.values():
            set_method(child, method)
    elif isinstance(part, list | tuple):
        for child in part:
            set_method(child, method)


def _is_ranking_loss(name: Any) -> bool:
    found = MODELS.get(name) if isinstance(name, str) else name
    return isinstance(found, type) and issubclass(found, RankingLoss)
