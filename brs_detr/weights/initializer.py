"""Initialisation from a checkpoint of any known format, for ``init_cfg`` in configs."""

from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from .loading import load_checkpoint


@WEIGHT_INITIALIZERS.register_module()
class PretrainedWeights:
    """``init_cfg=dict(type="PretrainedWeights", checkpoint=...)``, mmengine's `Pretrained` for every format.

    Unlike `Pretrained` it fails where the file does not supply what it should.

    checkpoint: a file, an http(s) address or ``torchvision://NAME``.
    strict: as in :func:`brs_detr.weights.load_checkpoint`.
    """

    def __init__(self, checkpoint: str, strict: bool = True) -> None:
        self.checkpoint, self.strict = checkpoint, strict

    def __call__(self, module: nn.Module) -> None:
        for child in module.children():  # first, or they would overwrite what is loaded
            if hasattr(child, "init_weights") and not getattr(child, "is_init", False):
                child.init_weights()  # type: ignore[operator]
        report = load_checkpoint(module, self.checkpoint, strict=self.strict)
        print_log(f"{self.checkpoint}: {report}", logger="current")
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
