"""What trainings in one process share, and those of a study, each in a process of its own, do not."""

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

import pytest
from mmdet.visualization import DetLocalVisualizer


@pytest.fixture(autouse=True)
def _own_visualizer() -> None:
    """mmengine keeps the visualizer of a process's first run, which writes its scalars into that run's folder."""
    DetLocalVisualizer._instance_dict.clear()
