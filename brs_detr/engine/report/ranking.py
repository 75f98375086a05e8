"""Which negatives outrank which positives, as the detecting head's ranking loss sees them.

    rank+(i) = sum over positives k of H(x_k - x_i)      FP(i) = sum over negatives j of H(x_j - x_i)
    ranking error  r_i = FP(i) / (rank+(i) + FP(i))      gradient of negative j: (1/P) sum_i H(x_j - x_i) / rank(i)

(Rank & Sort Loss, ICCV 2021). The images are those of the test data, in batches of the training's size, without
augmentation, by the model in evaluation mode. Each batch is ranked by itself.
"""

import heapq
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from torch import Tensor

from brs_detr.engine.report.crops import Crops
from brs_detr.engine.report.loss_batches import loader_of, losses_in_evaluation
from brs_detr.engine.report.recording import Ranked, detecting_head, ranked_by

IMAGES = 100  # the most that are ranked
SHOWN, BESIDE = 24, 8  # positives with the largest errors, and negatives beside each
PUSHED = 18  # negatives with the largest gradients
PAIRS = 12  # of classes
BINS = 20  # of the histogram
BLOCK = 1 << 23  # pairs at a time
EPS = 1e-10  # FP(i) at or below counts as none, as in the losses
OVERLAP = 0.1  # IoU with an object below which a negative is called background


@dataclass
class Sums:
    """Of P positives and C classes: r, false_positives, ranks, above (P,); pairs (C, C): H(x_j - x_i) / rank(i), by
    the classes of positive and negative; gradient, outranked: (N,) of each negative, and how many it outranks."""

    errors: Tensor
    false_positives: Tensor
    ranks: Tensor
    above: Tensor
    pairs: Tensor
    gradient: Tensor
    outranked: Tensor


def sums(positives: Tensor, negatives: Tensor, labels: tuple[Tensor, Tensor], classes: int, loss: Any) -> Sums:
    """The definition over all pairs, in blocks. positives: logits (P,), negatives: (N,); labels: of both."""
    step = loss.definition.step
    of_itself = step.at_zero if getattr(loss, "half_of_itself", True) else 1.0  # AP Loss counts a positive as 1
    rank_plus = step(positives[None] - positives[:, None]).sum(1) + (of_itself - step.at_zero)
    false_positives, above = torch.zeros_like(positives), torch.zeros_like(positives)
    gradient, outranked = torch.zeros_like(negatives), torch.zeros_like(negatives)
    pairs = positives.new_zeros(classes, classes)
    for rows in torch.arange(len(positives)).split(max(1, BLOCK // max(1, len(negatives)))):
        above_each = step(negatives[None] - positives[rows, None])  # (rows, N)
        false_positives[rows], above[rows] = above_each.sum(1), (above_each > 0).sum(1).to(above)
        share = above_each / (rank_plus[rows] + false_positives[rows])[:, None]
        gradient += share.sum(0) / len(positives)
        outranked += (above_each > 0).sum(0)
        by_class = share.new_zeros(len(rows), classes).index_add_(1, labels[1], share)
        pairs.index_add_(0, labels[0][rows], by_class)
    ranks = rank_plus + false_positives
    return Sums(false_positives / ranks, false_positives, ranks, above, pairs, gradient, outranked)


@dataclass(order=True)
class Entry:
    """What is shown of one positive or negative, ordered by how much it matters."""

    weight: float
    number: int
    shown: dict[str, Any] = field(compare=False)


class Largest:
    """The entries with the largest weights."""

    def __init__(self, most: int) -> None:
        self.most, self.entries, self.number = most, list[Entry](), 0

    def add(self, weight: float, shown: dict[str, Any]) -> None:
        self.number += 1
        heapq.heappush(self.entries, Entry(weight, -self.number, shown))
        if len(self.entries) > self.most:
            heapq.heappop(self.entries)

    def in_order(self) -> list[dict[str, Any]]:
        return [entry.shown for entry in sorted(self.entries, reverse=True)]


class Outranked:
    """What is added up over batches, and which positives and negatives are shown."""

    def __init__(self, loss: Any, classes: int) -> None:
        self.loss, self.classes = loss, classes
        self.histogram = torch.zeros(BINS)
        self.of_class = torch.zeros(classes, 2, dtype=torch.double)  # number and sum of errors
        self.pairs = torch.zeros(classes, classes)
        self.positives, self.negatives = Largest(SHOWN), Largest(PUSHED)
        self.batches = self.images = self.number = 0
        self.mean = 0.0  # over batches, as the loss is logged

    def add(self, ranked: Ranked, samples: list[Any]) -> None:
        """One batch. samples: its images as mmdet has them, with objects in pixels of the network's input."""
        ranked = ranked.on_host()
        places = (ranked.targets > 0).nonzero()
        positives = ranked.logits[places[:, 0], places[:, 1]].double()
        self.batches, self.images = self.batches + 1, self.images + len(samples)
        if not len(places):
            return
        lowest = positives.min() - self.loss.delta  # no other negative outranks any
        rivals = ((ranked.targets == 0) & (ranked.logits >= lowest)).nonzero()
        negatives = ranked.logits[rivals[:, 0], rivals[:, 1]].double()
        found = sums(positives, negatives, (places[:, 1], rivals[:, 1]), self.classes, self.loss)
        self.number += len(places)
        self.mean += float(found.errors.mean())
        self.histogram += torch.histc(found.errors.float(), BINS, 0, 1)
        self.of_class.index_add_(0, places[:, 1], torch.stack([torch.ones_like(found.errors), found.errors], 1))
        self.pairs += found.pairs
        batch = Batch(ranked, samples)
        self._show_positives(batch, places, rivals, negatives, found)
        for j in found.gradient.topk(min(PUSHED, len(rivals))).indices.tolist():
            shown = batch.negative(*rivals[j].tolist())
            gradient, number = float(found.gradient[j]), int(found.outranked[j])
            self.negatives.add(gradient, shown | {"gradient": gradient, "outranks": number})

    def _show_positives(self, batch: "Batch", places: Tensor, rivals: Tensor, negatives: Tensor, found: Sums) -> None:
        best = negatives.topk(min(BESIDE, len(negatives))).indices
        beside = [batch.negative(*rivals[j].tolist()) for j in best.tolist()]
        for i in found.errors.topk(min(SHOWN, len(places))).indices.tolist():
            if found.false_positives[i] <= EPS:
                continue
            shown = batch.positive(*places[i].tolist())
            steps = self.loss.definition.step(negatives[best] - shown["logit"]).tolist()
            numbers = {
                "error": float(found.errors[i]),
                "rank": float(found.ranks[i]),
                "false_positives": float(found.false_positives[i]),
                "above": int(found.above[i]),
                "negatives": [each | {"step": step} for each, step in zip(beside, steps, strict=True) if step > 0],
            }
            self.positives.add(float(found.errors[i]), shown | numbers)

    def summary(self, crops: Crops) -> dict[str, Any]:
        """All of it, as plain values. crops: what is shown gets its piece of an image there."""
        most = self.pairs.flatten().topk(min(PAIRS, self.classes**2))
        total = max(float(self.pairs.sum()), EPS)
        return {
            "images": self.images,
            "positives": self.number,
            "mean": self.mean / max(1, self.batches),
            "histogram": self.histogram.int().tolist(),
            "by_class": [[int(n), float(r / n) if n else None] for n, r in self.of_class.tolist()],
            "pairs": [
                [*divmod(place, self.classes), value / total]
                for value, place in zip(most.values.tolist(), most.indices.tolist(), strict=True)
                if value > 0
            ],
            "shown": [
                _with_crop(shown, crops) | {"negatives": [_with_crop(each, crops) for each in shown["negatives"]]}
                for shown in self.positives.in_order()
            ],
            "pushed": [_with_crop(shown, crops) for shown in self.negatives.in_order()],
        }


def _with_crop(shown: dict[str, Any], crops: Crops) -> dict[str, Any]:
    path, box = shown["piece"]
    others = {name: value for name, value in shown.items() if name != "piece"}
    return others | {"image": path.name, "crop": crops.index(path, box)}


class Batch:
    """Positives and negatives of a batch as they are shown: class, logit, and a piece of the original image."""

    def __init__(self, ranked: Ranked, samples: list[Any]) -> None:
        self.ranked, self.samples = ranked, samples

    def _shown(self, sample: int, label: int, box: Tensor) -> dict[str, Any]:
        meta = self.samples[int(self.ranked.images[sample])]
        scale = box.new_tensor(meta.scale_factor).repeat(2)  # (w, h, w, h)
        logit = float(self.ranked.logits[sample, label])
        return {"label": label, "logit": logit, "piece": (Path(meta.img_path), (box / scale).tolist())}

    def positive(self, sample: int, label: int) -> dict[str, Any]:
        shown = self._shown(sample, label, self.ranked.object_boxes[sample])
        return shown | {"iou": float(self.ranked.targets[sample, label])}

    def negative(self, sample: int, label: int) -> dict[str, Any]:
        """With the object that its box is on, and their IoU, where there is one."""
        box = self.ranked.box(sample, label)
        objects = self.samples[int(self.ranked.images[sample])].gt_instances
        shown = self._shown(sample, label, box)
        if not len(objects):
            return shown
        iou, nearest = bbox_overlaps(box[None], objects.bboxes.to(box))[0].max(0)
        return shown if iou < OVERLAP else shown | {"on": int(objects.labels[nearest]), "iou": float(iou)}


@torch.no_grad()
def outranked(config: Config, model: Any, classes: int, crops: Crops) -> dict[str, Any] | None:
    """A summary of what outranks what, None where the head that detects has no ranking loss of this project."""
    head: Any = detecting_head(model)
    if head is None:
        return None
    loader, found = loader_of(config), Outranked(head.loss_cls, classes)
    batch_size = loader.batch_sampler.batch_size if loader.batch_sampler else loader.batch_size
    for batch in islice(loader, max(1, IMAGES // batch_size)):
        inputs = model.data_preprocessor(batch, training=False)
        with losses_in_evaluation(model):
            ranked = ranked_by(head, partial(model.loss, inputs["inputs"], inputs["data_samples"]))
        found.add(ranked, [sample.cpu() for sample in inputs["data_samples"]])
    kind = f"{type(head.loss_cls).__name__}, δ = {head.loss_cls.delta:g}"
    return found.summary(crops) | {"loss": kind, "batch": batch_size}
