"""BRS-DETR: detectors that learn by ranking.

Importing it imports nothing else; `Detector` brings torch and mmdet when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from brs_detr.version import __version__

if TYPE_CHECKING:
    from brs_detr.engine.inference.detections import Detection, Detections
    from brs_detr.engine.inference.detector import Detector

__all__ = ["Detection", "Detections", "Detector", "__version__"]

_MODULES = {"Detector": "detector", "Detections": "detections", "Detection": "detections"}


def __getattr__(name: str) -> Any:
    """What stands in `__all__`.

    Raises:
        ImportError: the packages of the extra ``detector`` are not installed.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"brs_detr.engine.inference.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise ImportError(f'{package} is not installed, which {name} needs: `pip install ".[detector]"`.') from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
