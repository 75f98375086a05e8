"""From a checkpoint's content to its state_dict."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

# Where training programs keep the weights; averaged ones first, since those are what was evaluated.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "model_state_dict", "module")
PARALLEL = ("module.", "_orig_mod.")  # added to every name by data parallelism and by torch.compile


def state_dict_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, bare or wrapped at any depth, without the prefixes of parallel training.

    Empty where there are none.
    """
    for key in WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, Mapping) and (found := state_dict_of(inner)):
            return found
    return _strip({name: value for name, value in content.items() if isinstance(value, Tensor)})


def _strip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PARALLEL:
        if weights and all(name.startswith(prefix) for name in weights):
            return _strip({name.removeprefix(prefix): value for name, value in weights.items()})
    return weights
