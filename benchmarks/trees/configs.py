"""The configs of the study on trees: those of the digits on a pretrained backbone, with the tiles as data."""

from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict

from benchmarks import digits_configs
from brs_detr.engine.setup import adapting, pipelines

from .data import CATEGORY, SIDE, SPLITS

FAMILIES = dict.fromkeys(("co_detr", "faster_rcnn", "atss"), ("baseline", "exact"))
BACKBONE = digits_configs.CONFIGS / "_base_" / "backbones" / "timm_efficientnet_lite0.py"
FROZEN_STAGES = 2  # up to stride 8: most of its time, and what differs least between photographs
RATES = (3e-4, 1e-3, 3e-3)  # that each loss chooses from, by AP on the validation tiles
EPOCHS = {"co_detr": 5, "faster_rcnn": 12, "atss": 12}  # about seven minutes on a core
BATCH = 2
QUERIES, PROPOSALS = 100, (64, 128)  # of training and evaluation, for up to 40 trees in a tile


class Run(NamedTuple):
    """One training. rate: the learning rate; the backbone's is a tenth of it."""

    family: str
    variant: str
    rate: float
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        return f"{self.family}_{self.variant}_{self.rate:g}_{self.seed}_{self.epochs}"


def write_config(run: Run, data: Path, folder: Path) -> Path:
    """The config of a run as one file in `folder`. data: the folder that `prepare` wrote."""
    name = digits_configs.FAMILIES[run.family][run.variant]
    config = Config.fromfile(digits_configs.CONFIGS / f"{name}_tiny_digits.py")
    places = {split: (data / "annotations" / f"{split}.json", data / split) for split in SPLITS}
    adapting.use_data(config, places, (CATEGORY["name"],))
    pipelines.set_size(config, (SIDE, SIDE))
    pipelines.set_flip(config, "both")
    use_backbone(config.model)
    suit_many_objects(config.model)
    config.train_dataloader.batch_size = BATCH
    config.optim_wrapper.optimizer.lr = run.rate
    config.merge_from_dict({"optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult": 0.1})
    return digits_configs.write(config, run.epochs, folder)


def use_backbone(model: ConfigDict) -> None:
    """Put the pretrained backbone in the place of the small ResNet, with its normalisation; in place."""
    base = Config.fromfile(BACKBONE)
    model.backbone = ConfigDict(
        {key: value for key, value in base.timm_backbone.items() if key != "_delete_"}, frozen_stages=FROZEN_STAGES
    )
    model.data_preprocessor.update(base.timm_normalisation)
    model.neck.in_channels = base.timm_channels
    if "start_level" in model.neck:
        model.neck.start_level = 0  # the ResNet's first map was left out


def suit_many_objects(model: ConfigDict) -> None:
    """Let a model find as many objects as a tile may have; in place."""
    if "num_queries" in model:
        model.num_queries = QUERIES
    if "rpn_proposal" in model.train_cfg:
        model.train_cfg.rpn_proposal.max_per_img, model.test_cfg.rpn.max_per_img = PROPOSALS
