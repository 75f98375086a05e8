"""What the command line says of a training, beside the config."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `launch.train`; None and False leave what the config says.

    folder: the work directory; the config's, or ``work_dirs/NAME`` otherwise.
    resume: a checkpoint to continue from, ``resuming.LAST`` for the newest of the work directory.
    load_from: a checkpoint whose weights to start from; its class layers may differ. With ``resuming.AUTO`` only while
        there is nothing to continue.
    overwrite: discard the training that the work directory holds; see ``resuming.after_restart``.
    options: entries of the config, ``key=value``.
    launcher: one of ``distributed.LAUNCHERS``.
    """

    folder: str | None = None
    resume: str | None = None
    load_from: str | None = None
    overwrite: bool = False
    options: dict[str, Any] | None = None
    launcher: str = "none"

    # what is trained on
    data: Path | None = None  # a folder of one's own images, or its COCO file or data.yaml
    share: float | None = None  # of its training images, to validate on
    image_size: str | None = None  # N or WxH in pixels, which images are resized to fit
    flip: str | None = None  # of training images, one of `pipelines.FLIPS`

    # how it is trained
    seed: int | None = None
    epochs: int | None = None  # with the learning-rate schedule in proportion
    batch: int | None = None  # images of all processes for a step of the optimiser
    mixed_precision: bool = False
    sync_ranking: bool = False  # rank the samples of all processes together
    checkpoint_activations: bool = False  # compute those of backbone, encoder and decoder again: less memory
    compiled: bool = False  # backbone and encoder, by torch.compile
    checkpoint_minutes: float | None = None  # save this often, too
    freeze_backbone: bool = False
    average: bool = False  # evaluate and save an exponential moving average of the weights
    patience: int | None = None  # evaluations without a better value after which training ends
    logger: str | None = None  # one of `tuning.LOGGERS`, beside the local logs


NOTHING = TrainOptions()
