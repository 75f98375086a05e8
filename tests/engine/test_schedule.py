"""Another number of epochs moves the steps of the learning rate."""

import pytest
from mmengine.config import Config

from brs_detr.engine.schedule import set_epochs
from brs_detr.errors import InputError


def config() -> Config:
    return Config(
        {
            "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 12},
            "param_scheduler": [
                {"type": "LinearLR", "by_epoch": False, "begin": 0, "end": 50},
                {"type": "MultiStepLR", "by_epoch": True, "begin": 0, "end": 12, "milestones": [8, 11]},
            ],
        }
    )


@pytest.mark.parametrize(("epochs", "milestones"), [(24, [16, 22]), (12, [8, 11]), (6, [4, 6]), (2, [1, 2]), (1, [1])])
def test_steps_move_in_proportion(epochs: int, milestones: list[int]) -> None:
    changed = config()
    set_epochs(changed, epochs)
    warmup, steps = changed.param_scheduler
    assert changed.train_cfg.max_epochs == steps.end == epochs
    assert steps.milestones == milestones
    assert warmup.end == 50


def test_what_cannot_be_set() -> None:
    with pytest.raises(InputError, match="at least 1"):
        set_epochs(config(), 0)
    with pytest.raises(InputError, match="trains by epochs"):
        set_epochs(Config({"train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 9}}), 3)
