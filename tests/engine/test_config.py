"""What the command line changes in a config: the number of epochs, with the learning rate's steps; mixed precision."""

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import OPTIM_WRAPPERS, DefaultScope
from torch import Tensor, nn

from brs_detr.engine.config import set_epochs, use_mixed_precision
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


class Regression(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, inputs: Tensor, mode: str = "loss") -> dict[str, Tensor]:
        output = self.layer(inputs)
        self.seen.append(output.dtype)
        return {"loss": (output.float() - 1).square().mean()}


def test_bfloat16_forward_and_float32_weights() -> None:
    """On a CPU too."""
    changed = Config({"optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}}})
    use_mixed_precision(changed)
    assert changed.optim_wrapper.type == "BFloat16OptimWrapper"
    model = Regression()
    with DefaultScope.overwrite_default_scope("mmdet"):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        wrapper = OPTIM_WRAPPERS.build({"type": changed.optim_wrapper.type, "optimizer": optimizer})
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    losses = [model.train_step({"inputs": inputs}, wrapper)["loss"].item() for _ in range(5)]
    assert set(model.seen) == {torch.bfloat16}
    assert model.layer.weight.dtype == torch.float32
    assert losses == sorted(losses, reverse=True)
