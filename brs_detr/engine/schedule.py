"""Another number of epochs for a config."""

from mmengine.config import Config

from brs_detr.errors import InputError


def set_epochs(config: Config, epochs: int) -> None:
    """Train for this many epochs, with every epoch of the learning-rate schedule moved in proportion.

    Raises:
        InputError: no epoch, or the config counts iterations.
    """
    if epochs < 1:
        raise InputError("--epochs needs at least 1.")
    if "max_epochs" not in config.get("train_cfg", {}):
        raise InputError("--epochs needs a config that trains by epochs.")
    stretch = epochs / config.train_cfg.max_epochs
    config.train_cfg.max_epochs = epochs
    for scheduler in config.get("param_scheduler") or []:
        if not scheduler.get("by_epoch", True):
            continue
        for key in ("begin", "end", "T_max"):
            if key in scheduler:
                scheduler[key] = round(scheduler[key] * stretch)
        if "milestones" in scheduler:
            scheduler.milestones = sorted({max(1, round(step * stretch)) for step in scheduler.milestones})
