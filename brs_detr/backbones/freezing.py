"""The first stages of a timm model, which detectors often freeze."""

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .timm_names import flat


def freeze_stages(model: nn.Module, stage_names: Sequence[str], stages: int) -> None:
    """Stop the gradients of what a model registers up to and including its stage number `stages`.

    stage_names: timm's names of the modules that end the stages.
    stages: 0 for the stem alone, -1 for nothing.
    """
    if stages < 0:
        return
    parameters = [(flat(name), value) for name, value in model.named_parameters()]
    last = flat(stage_names[max(stages, 1) - 1]) + "_"
    inside = [index for index, (name, _) in enumerate(parameters) if name.startswith(last)]
    end = inside[0] if stages == 0 else inside[-1] + 1
    for _, parameter in parameters[:end]:
        parameter.requires_grad_(False)


def evaluate_frozen(model: nn.Module, *, all_norms: bool) -> None:
    """Put frozen modules and, if asked for, all batch norms in evaluation mode."""
    for module in model.modules():
        parameters = list(module.parameters())
        frozen = bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
        if frozen or (all_norms and isinstance(module, _BatchNorm)):
            module.eval()
