"""Mixed precision is bfloat16 and trains, on a CPU too."""

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import OPTIM_WRAPPERS, DefaultScope
from torch import Tensor, nn

from brs_detr.engine import amp


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
    config = Config({"optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}}})
    amp.enable(config)
    assert config.optim_wrapper.type == "BFloat16OptimWrapper"
    model = Regression()
    with DefaultScope.overwrite_default_scope("mmdet"):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        wrapper = OPTIM_WRAPPERS.build({"type": config.optim_wrapper.type, "optimizer": optimizer})
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    losses = [model.train_step({"inputs": inputs}, wrapper)["loss"].item() for _ in range(5)]
    assert set(model.seen) == {torch.bfloat16}
    assert model.layer.weight.dtype == torch.float32
    assert losses == sorted(losses, reverse=True)
