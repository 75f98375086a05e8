"""One recorded training step of the released code, replayed on this project's model."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from brs_detr.heads import AuxiliaryQueries, AuxiliarySamples, QueryTargets, select_queries
from brs_detr.weights.formats import rename
from tests.reference import recorded_batch

GROUPS = {"roi_queries": "aux0", "atss_queries": "aux1"}


def recorded_queries(arrays: dict[str, np.ndarray], head: int, num_classes: int = 7) -> AuxiliaryQueries:
    boxes, labels, targets, label_weights, box_weights, feats = (
        torch.from_numpy(arrays[f"aux_targets#{head}.{field}"]) for field in range(6)
    )
    positives = int((labels < num_classes).sum())
    negatives = labels.numel() - positives
    known = QueryTargets(list(labels), list(label_weights), list(targets), list(box_weights), positives, negatives)
    return AuxiliaryQueries(boxes, feats, known)


@contextmanager
def recorded_choice_of_queries(arrays: dict[str, np.ndarray]) -> Iterator[None]:
    """Replaces the random choice of queries by the recorded one, after checking that it could be the same.

    Features are this model's own at the recorded boxes, so that gradients flow.
    """
    heads = iter(range(2))

    def choose(samples: list[AuxiliarySamples], img_shapes: list, num_classes: int, **kwargs) -> AuxiliaryQueries:
        recorded = recorded_queries(arrays, next(heads))
        all_samples = max(len(s.boxes) for s in samples)
        ours = select_queries(samples, img_shapes, num_classes, **kwargs)
        assert ours.boxes.shape == recorded.boxes.shape
        everything = select_queries(samples, img_shapes, num_classes, least=all_samples, most=all_samples)
        index = torch.cat(
            [
                torch.cdist(recorded.boxes, everything.boxes, compute_mode="donot_use_mm_for_euclid_dist"),
                torch.cdist(recorded.feats, everything.feats, compute_mode="donot_use_mm_for_euclid_dist"),
            ]
        )
        distance = sum(index.split(len(samples)))
        assert distance.amin(-1).max() < 1e-3
        nearest = distance.argmin(-1)
        feats = torch.stack([f[i] for f, i in zip(everything.feats, nearest, strict=True)])
        return recorded._replace(feats=feats)

    with mock.patch("brs_detr.detectors.co_detr.select_queries", choose):
        yield


def replay(model: nn.Module, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Losses of the recorded batch, differentiable."""
    images, samples = recorded_batch()
    with recorded_choice_of_queries(arrays):
        return model.train().loss(images, samples)


def released_name(name: str) -> str:
    """The name under which the released code logs this project's loss `name`."""
    for group, suffix in GROUPS.items():
        if name.startswith(group + "."):
            return name.removeprefix(group + ".") + f"_{suffix}"
    if name.startswith("atss."):
        return name.removeprefix("atss.") + "1"
    if name.startswith("roi."):
        return name.removeprefix("roi.") + "0"
    return name


def total(losses: dict[str, Tensor | list[Tensor]]) -> Tensor:
    return sum(torch.stack(list(v)).sum() if isinstance(v, list) else v for k, v in losses.items() if "loss" in k)


def gradient_norms(model: nn.Module, groups: Iterable[str]) -> dict[str, float]:
    """Gradient norm of each group of parameters; a group is the beginning of released names."""
    norms = {}
    for group in groups:
        prefix = rename(group + ".").removesuffix(".")
        prefix = rename(prefix) if prefix == group else prefix
        norms[group] = math.sqrt(
            sum(
                float(p.grad.double().square().sum())
                for name, p in model.named_parameters()
                if p.grad is not None and (name + ".").startswith(prefix + ".")
            )
        )
    return norms
