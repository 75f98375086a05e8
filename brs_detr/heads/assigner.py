"""Hungarian matching of all layers and images of a step in one round trip between device and host.

costs of each image ──> one copy to the host ──> scipy, the matrices in threads ──> one copy of the matches back
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from mmdet.models.task_modules.assigners import HungarianAssigner
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from brs_detr.losses import NotFiniteError

from .host import read_together, to_device


class Matches(NamedTuple):
    """Which object each query has. objects: (Q,), on the device, -1 is none; number: of the queries that have one."""

    objects: Tensor
    number: int


@contextmanager
def matching(name: str) -> Iterator[None]:
    """Inside the block queries are matched to objects. Raises NotFiniteError where scipy refuses, naming `name`."""
    try:
        yield
    except ValueError as error:
        raise NotFiniteError(
            f"{name}: logits or boxes are NaN or infinite, so its queries cannot be matched"
        ) from error


@TASK_UTILS.register_module()
class BatchedHungarianAssigner(HungarianAssigner):
    """mmdet's `HungarianAssigner`, which `BatchedMatchingMixin` asks for all layers and images of a step at once.

    Any other head asks image by image, and is answered as by mmdet's.
    """

    @torch.no_grad()
    def costs(self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: dict) -> Tensor:
        """(Q, G): what it costs to match each query of an image to each object; boxes xyxy in pixels."""
        queries, objects = len(pred_instances), len(gt_instances)
        if queries == 0 or objects == 0:  # as mmdet, which asks for no cost then
            return pred_instances.scores.new_zeros(queries, objects)
        costs = [cost(pred_instances, gt_instances, img_meta) for cost in self.match_costs]
        return torch.stack(costs).sum(dim=0)


def match_together(costs: Sequence[Sequence[Tensor]], names: Sequence[str]) -> list[Matches]:
    """The cheapest matches of each layer, by cost matrices (Q, G) of its images, on one device.

    A layer's queries and objects are counted through all of its images. scipy gets the matrices that mmdet gives it.
    Raises NotFiniteError, naming the first layer of which a cost is NaN or no match has a finite cost.
    """
    matrices = iter(read_together([matrix for layer in costs for matrix in layer]))
    layers = [[next(matrices) for _ in layer] for layer in costs]
    with ThreadPoolExecutor() as threads:  # scipy releases the interpreter's lock
        solutions = [[threads.submit(linear_sum_assignment, matrix) for matrix in layer] for layer in layers]
    objects, numbers = [], []
    for name, layer, solved in zip(names, layers, solutions, strict=True):
        with matching(name):
            pairs = [solution.result() for solution in solved]
        objects.append(_objects(layer, pairs))
        numbers.append(sum(len(rows) for rows, _ in pairs))
    on_device = to_device(torch.from_numpy(np.concatenate(objects)), costs[0][0].device)
    parts = on_device.split([len(layer) for layer in objects])
    return [Matches(*layer) for layer in zip(parts, numbers, strict=True)]


def _objects(matrices: list[np.ndarray], pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The object of each query of a layer, both counted through its images."""
    images, before = [], 0
    for matrix, (rows, columns) in zip(matrices, pairs, strict=True):
        image = np.full(len(matrix), -1)
        image[rows] = columns + before
        images.append(image)
        before += matrix.shape[1]
    return np.concatenate(images)
