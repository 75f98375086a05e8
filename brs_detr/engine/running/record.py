"""What a checkpoint notes of its training beside weights and states, for the run that continues it."""

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from brs_detr.engine.running.preemption import SIGNALS

KEY = "record"  # in a checkpoint's meta
Segment = dict[str, float]


def images_per_iteration(loader: DataLoader) -> int:
    """Images that all processes together take from their data loaders for one iteration."""
    batch = getattr(loader.batch_sampler, "batch_size", None) or loader.batch_size or 1
    return batch * get_world_size()


def global_batch(runner: Runner) -> int:
    """Images of all processes for one step of the optimiser."""
    return images_per_iteration(runner.train_dataloader) * getattr(runner.optim_wrapper, "_accumulative_counts", 1)


def peak_memory() -> dict[str, float]:
    """Most memory this process has held, in GB: resident, and on its GPU."""
    peak = {"peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}
    if torch.cuda.is_available():
        peak["peak_gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return {name: round(value, 3) for name, value in peak.items()}


@dataclass
class Record:
    """One training over all of its runs.

    Args:
        images: of the current epoch that are done, by all processes.
        global_batch: images of a step of the optimiser; 0 where not known.
        evaluated: the iteration after which the last evaluation ended.
        earlier: seconds, iterations and memory of the runs before this one.
    """

    images: int = 0
    global_batch: int = 0
    evaluated: int = -1
    earlier: list[Segment] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> "Record":
        """From a checkpoint's meta; a new one where it has none, or anything else in its place."""
        try:
            noted = meta[KEY]
            numbers = {name: int(noted[name]) for name in ("images", "global_batch", "evaluated")}
            earlier = [{str(name): _number(value) for name, value in segment.items()} for segment in noted["segments"]]
            return cls(**numbers, earlier=earlier)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()

    def segments(self, iteration: int) -> list[Segment]:
        """What each run has taken, this one last and until this iteration."""
        first = self.earlier[-1].get("to_iteration", 0) if self.earlier else 0
        seconds = round(time.monotonic() - self.started, 1)
        this = {"from_iteration": first, "to_iteration": iteration, "seconds": seconds, **peak_memory()}
        return [*self.earlier, this]

    def meta(self, iteration: int) -> dict[str, Any]:
        """What `of` reads."""
        numbers = dict(images=self.images, global_batch=self.global_batch, evaluated=self.evaluated)
        return {**numbers, "segments": self.segments(iteration)}

    def summary(self, iteration: int) -> dict[str, Any]:
        """Seconds of all runs together, the largest memory of any, and the runs."""
        segments = self.segments(iteration)
        memory = {name: max(segment.get(name, 0) for segment in segments) for name in peak_memory()}
        seconds = round(sum(segment.get("seconds", 0) for segment in segments), 1)
        return {"seconds": seconds, **memory, "segments": segments}


def _number(value: Any) -> float:
    return value if isinstance(value, int) else float(value)


class RecordHook(Hook):
    """Keeps the runner's record, and writes it into every checkpoint."""

    priority = "VERY_HIGH"  # before anything is saved

    def before_train(self, runner: Runner) -> None:
        runner.record.global_batch = global_batch(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        runner.record.images += images_per_iteration(runner.train_dataloader)

    def after_train_epoch(self, runner: Runner) -> None:
        runner.record.images = 0

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if hasattr(runner, "record"):  # not in an evaluation without training
            runner.record.evaluated = runner.iter
            SIGNALS.safe = None  # the result is about to be saved

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        meta = checkpoint["meta"]
        meta[KEY] = runner.record.meta(meta["iter"])
