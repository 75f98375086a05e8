"""The module that takes the place of ``mmcv._ext`` when mmcv was installed without it."""

import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import NoReturn

from brs_detr.ops import box_ops, deform_conv, deformable_attention, focal_loss, soft_nms

EXTENSION = "mmcv._ext"
OPERATORS: dict[str, Callable] = {
    "nms": box_ops.nms,
    "softnms": soft_nms.softnms,
    "roi_align_forward": box_ops.roi_align_forward,
    "roi_align_backward": box_ops.roi_align_backward,
    "ms_deform_attn_forward": deformable_attention.ms_deform_attn_forward,
    "ms_deform_attn_backward": deformable_attention.ms_deform_attn_backward,
    "deform_conv_forward": deform_conv.deform_conv_forward,
    "deform_conv_backward_input": deform_conv.deform_conv_backward_input,
    "deform_conv_backward_parameters": deform_conv.deform_conv_backward_parameters,
    "modulated_deform_conv_forward": deform_conv.modulated_deform_conv_forward,
    "modulated_deform_conv_backward": deform_conv.modulated_deform_conv_backward,
    "sigmoid_focal_loss_forward": focal_loss.sigmoid_focal_loss_forward,
    "sigmoid_focal_loss_backward": focal_loss.sigmoid_focal_loss_backward,
    "get_compiler_version": lambda: "not compiled",
    "get_compiling_cuda_version": lambda: "not compiled",
}


class MissingOperatorError(NotImplementedError):
    """An mmcv operator was called that only a compiled mmcv has."""


def _missing(name: str) -> Callable[..., NoReturn]:
    def operator(*args: object, **kwargs: object) -> NoReturn:
        raise MissingOperatorError(
            f"mmcv's operator '{name}' needs a compiled mmcv: run `pip uninstall mmcv-lite` and "
            "`pip install 'mmcv>=2.1,<2.2'` (it is built from source, with a C++ compiler)."
        )

    return operator


class _StandIn(types.ModuleType):
    """Has every name that mmcv asks for; those that are not in OPERATORS raise when they are called."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("_"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return _missing(name)


def install() -> bool:
    """Put the stand-in where mmcv looks for its extension, unless the compiled one is there.

    Returns:
        Whether the stand-in is in use.
    """
    if EXTENSION in sys.modules:
        return isinstance(sys.modules[EXTENSION], _StandIn)
    if importlib.util.find_spec(EXTENSION) is not None:
        return False
    module = _StandIn(EXTENSION, __doc__)
    # mmengine asks pkgutil whether the extension exists, which fails for an imported module without a spec;
    # one without a loader makes it answer "not compiled".
    module.__spec__ = importlib.machinery.ModuleSpec(EXTENSION, loader=None, origin=__file__)
    vars(module).update(OPERATORS)
    sys.modules[EXTENSION] = module
    return True
