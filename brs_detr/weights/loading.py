"""Putting a checkpoint's weights into a model: all that it should supply, or an error and no change."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from .errors import CheckpointError
from .reading import read_checkpoint
from .report import LoadReport
from .translation import COMPUTED, Translation
from .unwrapping import state_dict_of

# Layers whose first dimension counts classes, or class-specific boxes or masks.
CLASS_LAYERS = re.compile(
    r"(?:^|\.)(cls_branches\.\d+|fc_cls|fc_reg|atss_cls|retina_cls|gfl_cls|conv_cls|conv_logits|label_embedding)"
    r"\.(weight|bias)$"
)


def map_state_dict(state_dict: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], LoadReport]:
    """The tensors of a state_dict that fit a model, in its names and layouts, and what became of all.

    state_dict: of any format that `brs_detr.weights.registry` lists, of a detector or a bare backbone.
    model: a detector (with its backbone as ``backbone``), or a bare backbone. It is not changed.
    """
    translation, mapped = Translation(state_dict.keys(), model), {}
    report = LoadReport(translation.title)
    for name, tensor in state_dict.items():
        target, tensor = translation.entry(name, tensor)
        if target not in translation.targets:
            (report.unused if translation.is_unused(name, target) else report.unexpected).append(name)
        elif tensor.shape == translation.targets[target].shape:
            mapped[target] = tensor
            report.loaded.append(target)
            report.renamed += [target] if target != name else []
        else:
            same_rows = tensor.shape[1:] == translation.targets[target].shape[1:]
            counts_classes = same_rows and CLASS_LAYERS.search(target)
            (report.reshaped if counts_classes else report.mismatched).append(target)
    found = {*mapped, *report.reshaped, *report.mismatched}
    for target in (name for name in translation.targets if name not in found):
        (report.fresh if translation.is_fresh(target) else report.missing).append(target)
    return mapped, report


def load_checkpoint(model: nn.Module, path: str | Path, *, strict: bool = True, whole: bool = False) -> LoadReport:
    """Read a checkpoint of any known format and put its weights into the model.

    Class layers keep their own values where the file has another number of classes (`LoadReport.reshaped`).

    path: a file, an http(s) address or ``torchvision://NAME``.
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
    if is_model_wrapper(model):
        return load_content(model.get_submodule("module"), content, path, strict=strict, whole=whole)
    state_dict = state_dict_of(content)
    if not state_dict:
        raise CheckpointError(f"The checkpoint {path} holds no weights.")
    mapped, report = map_state_dict(state_dict, model)
    reason = _objection(report, strict=strict, whole=whole)
    if reason:
        raise CheckpointError(
            f"The checkpoint {path} {reason}. Use the config that it was trained with (taken for: {report.source})."
        )
    model.load_state_dict(mapped, strict=False)
    return report


def _objection(report: LoadReport, *, strict: bool, whole: bool) -> str | None:
    """What forbids to load, None where nothing does."""
    if not report.loaded or (strict and not report.complete):
        return f"is of another architecture than the model: {report.lack}"
    if whole and report.reshaped:
        return f"has another number of classes than the model ({report.reshaped[0]} differs)"
    absent = [name for name in report.fresh if not COMPUTED.search(name)]
    if whole and absent:
        return f"holds only a part of the model: not {absent[0]}, and {len(absent)} names in all are absent"
    return None
