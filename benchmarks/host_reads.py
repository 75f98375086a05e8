"""What crosses between host and GPU in one training step of each detector.

    python -m benchmarks.host_reads

A read is an operation that makes the host wait for a GPU: `nonzero`, `item`, a copy to the host, indexing by a mask. A
copy to the GPU is data, or a constant that was built on the host. It is ours if the innermost frame of this project or
of OpenMMLab's that led to it is ours; `brs_detr/ops` stands in for mmcv. Counted on a stand-in for a GPU, for the tiny
config of every detector, of which one with a ranking loss where there is one. Writes benchmarks/results/host_reads.md.
"""

import logging
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from torch import Tensor, nn

import brs_detr.registry  # noqa: F401
from brs_detr.endings import ends_with_a_sentence
from brs_detr.engine.progress.console import silence_third_parties
from brs_detr.files import write_text
from brs_detr.timing.counting import CountSynchronisations

from .report import destination
from .stand_in_gpu import COPY, READ, SENT, StandInGPU, move, standing_in

ROOT = Path(__file__).resolve().parents[1]
HELPERS = ROOT / "brs_detr" / "heads" / "host.py"
RESULTS = Path(__file__).parent / "results" / "host_reads.md"
CONFIGS = (
    "faster_rcnn/brs-faster-rcnn",
    "cascade_rcnn/brs-cascade-rcnn",
    "mask_rcnn/brs-mask-rcnn",
    "atss/brs-atss",
    "paa/brs-paa",
    "dino/brs-dino-4scale",
    "ddq/brs-ddq-detr-4scale",
    "co_detr/co-deformable-detr",
    "brs_detr/brs-detr",
    "co_dino/co-dino",
    "brs_dino/brs-dino",
)
BY_FUNCTION = "brs_detr/brs-detr"  # the config whose reads are listed
TITLE = """\
What crosses between host and GPU in one training step of two images, forward, backward, clipping and AdamW, by whose
code asks for it; by `python -m benchmarks.host_reads`, on a stand-in for a GPU whose losses take torch. Reads are what
the host waits for. Copies are those to the GPU: the images and objects of a step, matches, and constants that are built
on the host."""
TITLE_BY_FUNCTION = f"""\
The functions that read or copy in a step of `{BY_FUNCTION}_tiny_digits.py`. The host waits for a copy, unless it is
from pinned memory or says that it need not."""
KINDS = OURS, LOSSES, OPENMMLAB, OTHER = "heads and detectors", "losses", "mmdet and mmcv", "elsewhere"


class HostReads(CountSynchronisations):
    """Counts reads by whose code asked for them, one of OURS, LOSSES, OPENMMLAB and OTHER, and by its function."""

    def __init__(self) -> None:
        super().__init__()
        self.by = Counter[str]()
        self.by_function = Counter[tuple[str, str]]()

    def found(self) -> None:
        super().found()
        kind, function = reader(sys._getframe(2))  # who called the counter
        self.by[kind] += 1
        self.by_function[kind, function] += 1


def reader(frame: FrameType | None) -> tuple[str, str]:
    """Whose code the innermost frame is that belongs to this project or to OpenMMLab, and `module.function` of it."""
    while frame is not None:
        path, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        helper = name.startswith("<") or path == HELPERS  # of the function that calls it
        if not helper and (kind := kind_of(path)):
            return kind, f"{path.stem}.{name}"
        frame = frame.f_back
    return OTHER, ""


def kind_of(path: Path) -> str | None:
    """Whose code a file is, if it is this project's or OpenMMLab's."""
    if path.is_relative_to(ROOT / "brs_detr"):
        room = path.relative_to(ROOT / "brs_detr").parts[0]
        return {"losses": LOSSES, "ops": OPENMMLAB}.get(room, OURS)
    return OPENMMLAB if {"mmdet", "mmcv", "mmengine"} & set(path.parts) else None


class Crossings(StandInGPU):
    """Counts what crosses by whose code asked for it, and by its function."""

    def __init__(self) -> None:
        super().__init__()
        self.by = Counter[tuple[str, str]]()
        self.by_function = Counter[tuple[str, tuple[str, str]]]()

    def found(self, crossing: str) -> None:
        super().found(crossing)
        asking = reader(sys._getframe(2))
        self.by[crossing, asking[0]] += 1
        self.by_function[crossing, asking] += 1

    def copies(self, kind: str) -> int:
        return self.by[COPY, kind] + self.by[SENT, kind]

    def functions(self) -> list[tuple]:
        """Rows of the table of functions, those that read most first."""
        found = {asking for _, asking in self.by_function}
        rows = [(*(self.by_function[crossing, each] for crossing in (READ, COPY, SENT)), *each) for each in found]
        return sorted(rows, key=lambda row: ([-number for number in row[:3]], row[3:]))


def host_reads(step: Callable[[], object]) -> HostReads:
    """The reads of `step`, which runs once on the CPU."""
    with HostReads() as reads:
        step()
    return reads


def config_of(name: str) -> Config:
    return Config.fromfile(str(ROOT / "configs" / f"{name}_tiny_digits.py"))


def tiny_model(name: str) -> nn.Module:
    """The tiny digits model of a config such as `atss/brs-atss`, from a fixed seed."""
    register_all_modules()
    torch.manual_seed(0)
    model = MODELS.build(config_of(name).model)
    model.init_weights()
    return model.train()


def batch() -> dict[str, list]:
    """Two images of noise, 128 x 160, with three and two objects and their masks."""
    torch.manual_seed(0)
    inputs, samples = [], []
    for count in (3, 2):
        corner = torch.rand(count, 2) * torch.tensor([100.0, 68.0])
        boxes = torch.cat([corner, corner + 16 + 40 * torch.rand(count, 2)], dim=1)
        masks = np.zeros((count, 128, 160), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        sample = DetDataSample(metainfo=dict(img_shape=(128, 160), ori_shape=(128, 160), scale_factor=(1.0, 1.0)))
        labels = torch.randint(0, 10, (count,))
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=BitmapMasks(masks, 128, 160))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        inputs.append(torch.randint(0, 256, (3, 128, 160), dtype=torch.uint8))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def training_step(model: nn.Module, data: dict[str, list]) -> dict[str, Tensor]:
    """Forward and backward of one batch. Returns the logged losses."""
    data = model.data_preprocessor(data, training=True)
    loss, logged = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
    loss.backward()
    return logged


def whole_step(model: nn.Module, name: str) -> dict[str, Tensor]:
    """Forward, backward, clipping and the step of a config's own optimiser, of `batch()`. Returns the logged losses."""
    optimizer = build_optim_wrapper(model, config_of(name).optim_wrapper)
    logged = training_step(model, batch())
    optimizer.step()
    return logged


def crossings_of(name: str) -> Crossings:
    """Those of one training step of a config; always the same ones, but for the limits of rounding."""
    model = tiny_model(name)
    move(model)
    with standing_in(Crossings()) as crossings:
        whole_step(model, name)
    return crossings


def row(name: str, crossings: Crossings) -> tuple:
    reads, copies = ([count(kind) for kind in KINDS] for count in (lambda k: crossings.by[READ, k], crossings.copies))
    return f"`{name}_tiny_digits.py`", *reads, *copies


def table(heads: tuple[str, ...], rows: list[tuple]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


@ends_with_a_sentence()
def main() -> None:
    out = destination(__doc__, RESULTS)
    silence_third_parties()
    logging.disable(logging.INFO)  # of every initialised weight
    rows, functions = [], []
    for name in CONFIGS:
        crossings = crossings_of(name)
        rows.append(row(name, crossings))
        if name == BY_FUNCTION:
            functions = [(*each, f"`{function}`") for *each, function in crossings.functions()]
        print(*rows[-1], flush=True)
    heads = (*(f"reads: {kind}" for kind in KINDS), *(f"copies: {kind}" for kind in KINDS))
    tables = table(("config", *heads), rows), table((READ, COPY, SENT, "of", "function"), functions)
    write_text(out, "\n\n".join((TITLE, tables[0], TITLE_BY_FUNCTION, tables[1])) + "\n")


if __name__ == "__main__":
    main()
