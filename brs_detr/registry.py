"""Registers every class of the project with mmdet when imported; configs name it in ``custom_imports``."""

import importlib

import brs_detr.ops  # noqa: F401  (before anything of mmdet: it makes mmcv.ops importable)

for _package in ("backbones", "heads", "detectors", "data", "engine", "weights"):
    importlib.import_module(f"brs_detr.{_package}")
