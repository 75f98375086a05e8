"""AdamW for mmengine, which makes each weight a group of its own: by torch's AdamW hundreds of passes in a step."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor


@OPTIMIZERS.register_module()
class OnePassAdamW(torch.optim.AdamW):
    """torch's, with all groups of the same settings in one pass. Weights and checkpoints are those of torch's."""

    def step(self, closure: Callable | None = None) -> Any:
        groups = self.param_groups
        self.param_groups = merged(groups, self.defaults)  # others are notes: mmengine's custom keys, schedulers' rates
        try:
            return _without_hooks(torch.optim.AdamW.step)(self, closure)
        finally:
            self.param_groups = groups


def _without_hooks(step: Callable) -> Callable:
    """torch wraps the method of each class of optimizers to call its hooks; this class's own calls them already."""
    while getattr(step, "hooked", False):
        step = step.__wrapped__  # type: ignore[attr-defined]
    return step


def merged(groups: list[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """As few groups as there are settings of these names; moments belong to the weights, whatever their group."""
    settings_of, weights = itemgetter(*names), defaultdict[tuple, list[Tensor]](list)
    for group in groups:
        if isinstance(group["betas"], list):  # of JSON, or of a group's own: two settings that a key cannot hold
            group = group | {"betas": tuple(group["betas"])}
        weights[settings_of(group)] += group["params"]
    return [dict(zip(names, settings, strict=True), params=params) for settings, params in weights.items()]
