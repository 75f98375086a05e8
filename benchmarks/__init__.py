"""Benchmarks with recorded results."""

import os

# mmengine looks for a GPU when it is imported. torch asks CUDA, after which no forked process may use a GPU, or NVML.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import brs_detr.ops  # noqa: F401  supplies mmcv's operators before mmdet is imported
