"""Registers every class of the project with mmdet when imported; configs name it in ``custom_imports``."""

import brs_detr.engine  # noqa: F401
