"""timm's models, built for their feature maps: options, weights, names of tensors, frozen stages."""

import re
from collections.abc import Collection, Sequence
from typing import Any

import timm
from timm.layers import PatchEmbed
from timm.models import get_pretrained_cfg, is_model
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from brs_detr.errors import InputError

from .swin import support_any_size


def model_options(model_name: str, drop_path_rate: float, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `timm.create_model`; models made for one image size are asked to take any.

    Raises:
        InputError: timm has no such model.
    """
    if not is_model(model_name):
        raise InputError(f"timm has no model {model_name}: timm.list_models() names all.")
    options: dict[str, Any] = {"drop_path_rate": drop_path_rate} if drop_path_rate else {}
    trained = get_pretrained_cfg(model_name)
    if trained and trained.fixed_input_size and "img_size" not in given:
        options["dynamic_img_size"] = True
    return {**options, **given}


def feature_model(model_name: str, out_indices: Sequence[int], options: dict[str, Any]) -> Any:
    """timm's feature extractor, for images of any size where the model can.

    Raises:
        InputError: the model gives no feature maps, or does not know an option.
    """
    try:
        model: Any = timm.create_model(model_name, features_only=True, out_indices=tuple(out_indices), **options)
    except (TypeError, RuntimeError, AttributeError, AssertionError, IndexError) as error:
        fixed = "dynamic_img_size" in str(error)
        remedy = "; its images have one size, set options=dict(img_size=...)" if fixed else ""
        raise InputError(f"timm's {model_name} cannot be a backbone as asked: {error}{remedy}.") from error
    for module in model.modules():
        if isinstance(module, PatchEmbed) and "img_size" not in options:
            setattr(module, "dynamic_img_pad", True)  # noqa: B010  (declared final, for TorchScript alone)
    support_any_size(model)
    return model


def recompute_activations(features: Any) -> None:
    """Trade time for memory in the backward pass.

    Raises:
        InputError: the model cannot.
    """
    model = getattr(features, "model", features)
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise InputError(f"timm's {type(model).__name__} has no gradient checkpointing: with_cp=False.") from error


def pretrained_weights(model_name: str, options: dict[str, Any]) -> dict[str, Tensor]:
    """timm's own weights of a model, adapted to the options.

    Raises:
        InputError: there are none, or they cannot be fetched.
    """
    try:
        return timm.create_model(model_name, pretrained=True, **options).state_dict()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"timm's weights of {model_name} are not in its cache and cannot be fetched ({error}): "
            'give a file, init_cfg=dict(type="PretrainedWeights", checkpoint=...).'
        ) from error


def flat_name(name: str) -> str:
    """One name for a tensor of a whole model and of its feature extractor.

    ``layers.1.blocks`` of the first is ``layers_1.blocks`` or ``model.layers.1.blocks`` in the second.
    """
    return re.sub(r"^(model|body)\.", "", name).replace(".", "_")


def match_names(whole: Collection[str], features: Collection[str]) -> dict[str, str | None]:
    """For each name in the whole model that in the feature extractor; None for what features do not need."""
    found = {flat_name(name): name for name in features}
    return {name: found.get(flat_name(name)) for name in whole}


def freeze_stages(model: nn.Module, stage_names: Sequence[str], stages: int) -> None:
    """Stop the gradients of what a model registers up to and including its stage number `stages`.

    stage_names: timm's names of the modules that end the stages.
    stages: 0 for the stem alone, -1 for nothing.
    """
    if stages < 0:
        return
    parameters = [(flat_name(name), value) for name, value in model.named_parameters()]
    last = flat_name(stage_names[max(stages, 1) - 1]) + "_"
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
