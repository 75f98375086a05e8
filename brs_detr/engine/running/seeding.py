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

IMAGE, EPOCH, ITERATION, EVALUATION = range(4)  # what the numbers that follow count


def seed_host(*key: int) -> int:
    """Seed Python's, numpy's and torch's generators of this process; return torch's seed.

    key: non-negative integers. Other devices are left aside: a data loader's worker uses none.
    """
    state = np.random.SeedSequence(key).generate_state(4)
    random.seed(state.tobytes())
    np.random.seed(state)
    seed = int.from_bytes(state[:2].tobytes(), "little")
    torch.default_generator.manual_seed(seed)
    return seed


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
            seed_host(*index.key)
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
    """The batches of another batch sampler, their indices seeded, from any batch on; images before are not loaded.

    Each iteration over it gives the next epoch.

    Args:
        batches: the config of that batch sampler.
        seed: of the training.
    """

    def __init__(self, sampler: Sampler, batch_size: int, batches: dict[str, Any], seed: int) -> None:
        self.sampler, self.batch_size, self.seed = sampler, batch_size, seed
        self.batches = DATA_SAMPLERS.build(batches, default_args=dict(sampler=sampler, batch_size=batch_size))
        self.start_at(0, 0)

    def start_at(self, epoch: int, done: int) -> None:
        """Let the next iteration begin in an epoch, after batches of which none, some or more than all belong to it."""
        self.epoch, self.done = epoch, done

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        batches = self._next_epoch()
        while skipped := sum(1 for _ in islice(batches, self.done)):
            self.done -= skipped
            batches = self._next_epoch() if self.done else batches
        yield from batches

    def _next_epoch(self) -> Iterator[list[SeededIndex]]:
        self.epoch += 1
        return self._seeded(self.epoch - 1)

    def _seeded(self, epoch: int) -> Iterator[list[SeededIndex]]:
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)
        before: Counter[int] = Counter()  # some samplers give an image several times in an epoch
        for batch in self.batches:
            seeded = []
            for index in batch:
                seeded.append(SeededIndex(index, (self.seed, IMAGE, epoch, index, before[index])))
                before[index] += 1
            yield seeded

    def __len__(self) -> int:
        return len(self.batches)


def seeded_loader(loader: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The config of a data loader with its data set and batches seeded."""
    settings = dict(loader)
    batches = settings.pop("batch_sampler", None)
    if batches is None:
        batches = dict(type=BatchSampler, drop_last=settings.pop("drop_last", False))
    settings["batch_sampler"] = dict(type=SeededBatchSampler.__name__, batches=batches, seed=seed)
    settings["dataset"] = dict(type=SeededDataset.__name__, dataset=settings["dataset"])
    return settings


class SeedingHook(Hook):
    """Seeds a process before everything in which its model, or a sampler, may draw random numbers."""

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        _seed_process(runner, EPOCH, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        _seed_process(runner, ITERATION, runner.iter)

    def before_val(self, runner: Runner) -> None:
        _seed_process(runner, EVALUATION, runner.iter)


def _seed_process(runner: Runner, *key: int) -> None:
    torch.manual_seed(seed_host(runner.seed, *key, get_rank()))  # on all devices
