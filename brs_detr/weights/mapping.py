"""From the names and layouts of one file to those of one model."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .formats import BACKBONES, DETECTORS, Entry, detect
from .report import LoadReport

BACKBONE = "backbone."
# Buffers that models compute themselves, and that came and went with the versions of their libraries.
COMPUTED = re.compile(r"\.(relative_position_index|attn_mask|num_batches_tracked)$")
# Layers whose first dimension counts classes, or class-specific boxes or masks.
CLASS_LAYERS = re.compile(
    r"(?:^|\.)((aux_)?cls_branches\.\d+|fc_cls|fc_reg|(atss|retina|gfl|vfnet|tood)_cls|rtm_cls(\.\d+)?"
    r"|conv_cls|conv_logits|label_embedding)\.(weight|bias)$"
)


def map_state_dict(state_dict: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], LoadReport]:
    """The tensors of a state_dict that fit a model, in its names and layouts, and what became of all.

    state_dict: of any format that `brs_detr.weights.formats` lists, of a detector or a bare backbone.
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


class Translation:
    """Where a file's tensors belong in a model; either may be a detector or a bare backbone.

    names: of the file's state_dict.

    source_detector, source_backbone: formats of the file; the first is None for a bare backbone.
    target_backbone: format of the model's backbone.
    """

    def __init__(self, names: Collection[str], model: nn.Module) -> None:
        self.targets = model.state_dict()
        self.source_prefix, self.target_prefix = _prefix(names), _prefix(self.targets)
        self.source_detector = detect(names, DETECTORS) if self.source_prefix else None
        self.source_backbone = detect({name.removeprefix(self.source_prefix) for name in names}, BACKBONES)
        own = {name.removeprefix(self.target_prefix) for name in self.targets if self._in_backbone(name)}
        timm_names = getattr(getattr(model, "backbone", model), "timm_names", {})
        self.own_names: dict[str, str | None] = {name: name for name in own} | timm_names
        self.added = own - set(timm_names.values()) if timm_names else set()  # to timm's model
        self.target_backbone = detect(self.own_names, BACKBONES)

    @property
    def title(self) -> str:
        """The kinds of file and backbone, for the report."""
        formats = (self.source_detector, self.source_backbone)
        return ", with ".join(known.title for known in formats if known)

    def entry(self, name: str, tensor: Tensor) -> Entry:
        """One of the file's tensors under the model's name and in its layout."""
        if self.source_detector and not name.startswith(self.source_prefix):
            return self.source_detector.to_common(name, tensor)
        common = self.source_backbone.to_common(name.removeprefix(self.source_prefix), tensor)
        inner, tensor = self.target_backbone.from_common(*common)
        return self.target_prefix + (self.own_names.get(inner) or inner), tensor

    def is_unused(self, name: str, target: str) -> bool:
        """Whether the file's `name`, which has no place in the model as `target`, needs none."""
        if COMPUTED.search(name):
            return True
        if self.source_detector:
            other_part = not self.target_prefix and not name.startswith(self.source_prefix)
            return other_part or bool(re.search(self.source_detector.unused, target))
        inner = target.removeprefix(self.target_prefix)
        return inner in self.own_names or bool(re.search(self.source_backbone.unused, inner))

    def is_fresh(self, target: str) -> bool:
        """Whether such a file need not supply the model's `target`."""
        if COMPUTED.search(target):
            return True
        if self.source_detector:
            return bool(re.search(self.source_detector.fresh, target))
        inner = target.removeprefix(self.target_prefix)
        outside = not self._in_backbone(target) or inner in self.added
        return outside or bool(re.search(self.target_backbone.fresh, inner))

    def _in_backbone(self, target: str) -> bool:
        return target.startswith(self.target_prefix)


def _prefix(names: Collection[str]) -> str:
    """The prefix of a detector's backbone; none where the names are those of a backbone alone."""
    return BACKBONE if any(name.startswith(BACKBONE) for name in names) else ""


class Skeleton(TorchFunctionMode):
    """A context in which the parameters of new modules have names and shapes, but no memory: the meta device.

    Unlike ``torch.device("meta")`` it leaves alone what constructors compute with, such as drop path rates.
    """

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
