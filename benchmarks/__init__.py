"""Benchmarks with recorded results."""

import brs_detr.ops  # noqa: F401  supplies mmcv's operators before mmdet is imported
