"""Putting a checkpoint's weights into a model, by a call, by ``init_cfg`` or by mmengine's own loading.

All that the file should supply, or an error and no change. mmengine itself takes without a word what does not
fit, and reads downloads with ``weights_only`` off, so that such a file could run code; read here, it cannot.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from brs_detr.errors import CheckpointError, printable

from .locating import CATALOGUES, DOWNLOADS, PACKAGE
from .mapping import BACKBONE, COMPUTED, map_state_dict
from .reading import first_not_finite, read_checkpoint, weights_of
from .report import LoadReport


def load_checkpoint(model: nn.Module, path: str | Path, *, strict: bool = True, whole: bool = False) -> LoadReport:
    """Read a checkpoint of any known format and put its weights into the model.

    Class layers keep their own values where the file has another number of classes (`LoadReport.reshaped`).

    path: a file, an http(s) address, ``torchvision://NAME`` or ``package://NAME/FILE``.
    strict: require that all that the file should supply is used; otherwise take what fits.
    whole: require that the file supplies the whole model, classes included, as for evaluation. Otherwise a file
        of a backbone alone is enough.

    Raises:
        CheckpointError: the file cannot be read, or does not fit; the model is unchanged then.
    """
    return load_content(model, read_checkpoint(path), path, strict=strict, whole=whole)


def load_content(
    model: nn.Module, content: Mapping[str, Any], path: str | Path, *, strict: bool = True, whole: bool = False
) -> LoadReport:
    """Like :func:`load_checkpoint` for what :func:`read_checkpoint` read from `path`."""
    if is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        return load_content(model.get_submodule("module"), content, path, strict=strict, whole=whole)
    mapped, report = map_state_dict(weights_of(content, path), model)
    reason = _reason_to_refuse(report, strict=strict, whole=whole)
    if reason:
        raise CheckpointError(
            f"The checkpoint {path} {reason}. Use the config that it was trained with (taken for: {report.source})."
        )
    check_numbers(mapped, model, path)
    model.load_state_dict(mapped, strict=False)
    return report


def check_numbers(mapped: Mapping[str, Tensor], model: nn.Module, path: str | Path) -> None:
    """Whether a model can compute with what was mapped onto it.

    Raises:
        CheckpointError: integers where the model has fractions, or numbers that are not finite.
    """
    own = model.state_dict()
    for name, tensor in mapped.items():
        if own[name].is_floating_point() and not tensor.is_floating_point():
            raise CheckpointError(f"The checkpoint {path} holds {name} as integers, and the model has fractions there.")
    if broken := first_not_finite(mapped):
        raise CheckpointError(
            f"The checkpoint {path} holds NaN or infinite numbers in {broken}: its training diverged, use an earlier "
            "one."
        )


def _reason_to_refuse(report: LoadReport, *, strict: bool, whole: bool) -> str | None:
    """Why the checkpoint must not be loaded; None where it may be."""
    if not report.loaded or (strict and not report.complete):
        return f"is of another architecture than the model: {report.lack}"
    if whole and report.reshaped:
        return f"has another number of classes than the model ({report.reshaped[0]} differs)"
    absent = [name for name in report.fresh if not COMPUTED.search(name)]
    if whole and absent:
        return f"holds only a part of the model: not {absent[0]}, and {len(absent)} names in all are absent"
    return None


@WEIGHT_INITIALIZERS.register_module()
class PretrainedWeights:
    """``init_cfg=dict(type="PretrainedWeights", checkpoint=...)``, mmengine's `Pretrained` for every format.

    Unlike `Pretrained` it fails where the file does not supply what it should.

    checkpoint: a file, an http(s) address, ``torchvision://NAME`` or ``package://NAME/FILE``.
    strict: as in :func:`brs_detr.weights.load_checkpoint`.
    """

    def __init__(self, checkpoint: str, strict: bool = True) -> None:
        self.checkpoint, self.strict = checkpoint, strict

    def __call__(self, module: nn.Module) -> None:
        for child in module.children():  # first, or they would overwrite what is loaded
            if hasattr(child, "init_weights") and not getattr(child, "is_init", False):
                child.init_weights()  # type: ignore[operator]
        report = load_checkpoint(module, self.checkpoint, strict=self.strict)
        print_log(f"{printable(self.checkpoint)}: {report}", logger="current")
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"PretrainedWeights: load from {self.checkpoint}")


def skip_pretrained(model: nn.Module) -> None:
    """Forget the pretrained weights that configs name: a checkpoint that is loaded next replaces them.

    So that starting from a checkpoint, or resuming, downloads nothing.
    """
    for module in model.modules():
        named = getattr(module, "init_cfg", None)
        if named:
            each = named if isinstance(named, list) else [named]
            vars(module)["init_cfg"] = [init_cfg for init_cfg in each if "checkpoint" not in init_cfg] or None
        if getattr(module, "pretrained", False):
            vars(module)["pretrained"] = False


def load_from_file(filename: str, map_location: str | torch.device | None = None) -> dict[str, Any]:
    """A checkpoint file's content, in mmengine's signature."""
    return read_checkpoint(filename, map_location or "cpu")


def load_from_mmcls(filename: str, map_location: str | torch.device | None = None) -> dict[str, Any]:
    """The backbone of one of mmpretrain's classifiers, without the prefix of its names."""
    weights = weights_of(load_from_file(filename, map_location), filename)
    return {name.removeprefix(BACKBONE): value for name, value in weights.items() if name.startswith(BACKBONE)}


def replace_mmengine_readers() -> None:
    """Let mmengine's ``Pretrained`` and ``load_from`` read local files, downloads and catalogues by this package."""
    CheckpointLoader.register_scheme(["", PACKAGE, *DOWNLOADS, *CATALOGUES], load_from_file, force=True)
    CheckpointLoader.register_scheme("mmcls://", load_from_mmcls, force=True)
