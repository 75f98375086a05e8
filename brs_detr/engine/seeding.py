"""Random numbers that do not depend on what a process did before, so that a continued training draws the same.

what draws                          seeded from                          when
data augmentation of an image       seed, epoch, image, how often before  before the image is loaded, in any worker
model (dropout, denoising, ...)     seed, iteration, process              before every iteration
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import BatchSampler, Dataset, Sampler

from brs_detr.engine.preemption import protect_worker

EPOCH, ITERATION, EVALUATION = range(3)  # what the numbers of a seed count: equal ones must not meet


def seed_everything(*key: int) -> None:
    """Seed Python, numpy and torch from a key of non-negative integers; one number more or less gives unlike seeds."""
    state = np.random.SeedSequence(key).generate_state(4)
    random.seed(state.tobytes())
    np.random.seed(state)
    torch.manual_seed(int.from_bytes(state[:2].tobytes(), "little"))


class SeededIndex(int):
    """The index of an image that carries the key of its random numbers to whichever process loads it."""

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> "SeededIndex":
        seeded = super().__new__(cls, index)
        seeded.key = key
        return seeded

    def __reduce__(self) -> tuple[type, tuple[int, tuple[int, ...]]]:
        return SeededIndex, (int(self), self.key)


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Seeds before it loads an image; for all else, setting attributes too, it is the data set that it wraps.

    dataset: the config of a data set.
    """

    dataset: Dataset

    def __init__(self, dataset: dict[str, Any]) -> None:
        self.__dict__["dataset"] = DATASETS.build(dataset)

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed_everything(*index.key)
        return self.dataset[int(index)]

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not yet there while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)


@DATA_SAMPLERS.register_module()
class SeededBatchSampler(Sampler):
    """The batches of another batch sampler, their indices seeded, from any batch of an epoch on.

    Batches before that are left out without a look at their images.

    Args:
        batches: the config of that batch sampler.
        seed: of the training.
    """

    def __init__(self, sampler: Sampler, batch_size: int, batches: dict[str, Any], seed: int) -> None:
        self.sampler, self.batch_size, self.seed = sampler, batch_size, seed
        self.batches = DATA_SAMPLERS.build(batches, default_args=dict(sampler=sampler, batch_size=batch_size))
        self.epoch, self.first = 0, 0

    def start_at(self, epoch: int, first: int) -> None:
        """What the next iteration over the batches gives: those of an epoch from the `first` on."""
        self.epoch, self.first = epoch, first

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        return islice(self._seeded(self.epoch), self.first, None)

    def _seeded(self, epoch: int) -> Iterator[list[SeededIndex]]:
        before: Counter[int] = Counter()  # some samplers give an image several times in an epoch
        for batch in self.batches:
            seeded = []
            for index in batch:
                seeded.append(SeededIndex(index, (self.seed, epoch, index, before[index])))
                before[index] += 1
            yield seeded

    def __len__(self) -> int:
        return len(self.batches)


def seeded_loader(loader: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The config of a data loader with its data set and batches seeded, and its workers protected from signals."""
    settings = dict(loader)
    settings.pop("disable_subprocess_warning", None)  # of the function that protect_worker takes the place of
    batches = settings.pop("batch_sampler", None)
    if batches is None:
        batches = dict(type=BatchSampler, drop_last=settings.pop("drop_last", False))
    settings["batch_sampler"] = dict(type=SeededBatchSampler.__name__, batches=batches, seed=seed)
    settings["dataset"] = dict(type=SeededDataset.__name__, dataset=settings["dataset"])
    settings.setdefault("worker_init_fn", dict(type=protect_worker))
    return settings


class SeedingHook(Hook):
    """Seeds a process before everything in which its model, or a sampler, may draw random numbers."""

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        seed_everything(runner.seed, EPOCH, runner.epoch, get_rank())

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        seed_everything(runner.seed, ITERATION, runner.iter, get_rank())

    def before_val(self, runner: Runner) -> None:
        seed_everything(runner.seed, EVALUATION, runner.iter, get_rank())
