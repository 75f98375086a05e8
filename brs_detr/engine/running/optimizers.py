"""AdamW for mmengine, which makes each weight a group of its own: by torch's AdamW hundreds of passes in a step."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor


@OPTIMIZERS.register_module()
class OnePassAdamW(torch.optim.AdamW):
    """torch's, with all groups of the same settings in one pass. Weights and checkpoints are those of torch's."""

    def step(self, closure: Callable | None = None) -> Any:
        groups = self.param_groups
        self.param_groups = merged(groups)
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups


def merged(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As few groups as there are settings; moments belong to the weights, whatever their group."""
    weights: dict[tuple, list[Tensor]] = defaultdict(list)
    for group in groups:
        weights[tuple(setting for setting in group.items() if setting[0] != "params")] += group["params"]
    return [dict(settings, params=params) for settings, params in weights.items()]
