"""What is measured: parts, which are pages, of cases, which are run one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

Value = str | int | float | bool | None
Row = dict[str, Value]  # of a table, by column


@dataclass(frozen=True)
class Setting:
    """Where to measure. small: sizes of a dry run, which goes through everything in seconds on a CPU and tells nothing;
    folder: for data and trainings, which may be removed afterwards."""

    device: str
    small: bool
    folder: Path

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    @property
    def on_gpu(self) -> bool:
        return self.torch_device.type == "cuda"


@dataclass(frozen=True)
class Case:
    """Some rows of a table. seconds: what it takes on a GPU of 2020, at the most; measure: sent to another process."""

    name: str
    seconds: float
    measure: Callable[[], list[Row]]


@dataclass(frozen=True)
class Part:
    """A page. title: what its tables show, sentences of Markdown; cases: in the order of their worth; alone: each needs
    the machine for itself, as times do, or its memory."""

    name: str
    title: str
    cases: Callable[[Setting], list[Case]]
    alone: bool = True
