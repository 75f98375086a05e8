"""Whether a file of ONNX detects what the model detects, by running both."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from brs_detr.data.calibration import Calibration
from brs_detr.engine.export.graph import DetectionGraph
from brs_detr.errors import InputError

SCORES, PIXELS = 1e-3, 1e-2  # what may differ; BRS-DETR with ResNet-50 at 640 pixels, random weights: 1e-6 and 4e-4
SWAPPED = 0.02  # of the detections may have no counterpart: where two scores are nearly the same, either may win


class Batch(NamedTuple):
    """images: (B, 3, H, W). sizes: (B, 2), height and width of what each holds."""

    images: Tensor
    sizes: Tensor


class Difference(NamedTuple):
    """The largest between two sets of detections. boxes: in pixels. lacking: detections without a counterpart."""

    boxes: float
    scores: float
    detections: int
    lacking: int

    def __str__(self) -> str:
        if not self.detections:
            return "detections could not be compared, for neither found any: have images of the test data here"
        text = f"boxes differ by at most {self.boxes:.1g} pixels, scores by {self.scores:.1g}"
        return text + (f"; {self.lacking} of {self.detections} detections are others" if self.lacking else "")


def open_session(path: Path) -> Any:
    """The file in onnxruntime, on the CPU."""
    import onnxruntime  # of the extra `export`

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check_equal(path: Path, graph: DetectionGraph, batches: list[Batch], calibration: Calibration | None) -> Difference:
    """The difference between a file and the model's own `predict` over all batches.

    Raises:
        InputError: it is too large.
    """
    session = open_session(path)
    pairs = [pair for batch in batches for pair in both(session, graph.model, batch, calibration)]
    found = overall([difference(*pair) for pair in pairs])
    if found.lacking > SWAPPED * found.detections:
        raise InputError(
            f"{found.lacking} of {found.detections} detections in onnxruntime are not those of torch: the model cannot "
            "be exported faithfully, and nothing was written."
        )
    return found


def both(
    session: Any, model: Any, batch: Batch, calibration: Calibration | None
) -> list[tuple[InstanceData, InstanceData]]:
    """For each image what torch detects, and what onnxruntime does."""
    expected = predicted(model, batch)
    outputs = session.run(None, {"images": batch.images.numpy(), "sizes": batch.sizes.numpy()})
    pairs = []
    for wanted, *image in zip(expected, *outputs, strict=True):
        boxes, scores, labels = map(torch.from_numpy, image)
        found = InstanceData(bboxes=boxes, scores=scores, labels=labels)
        if calibration:
            wanted.scores = calibration(wanted.scores)
        pairs.append((wanted, found[labels >= 0]))
    return pairs


@torch.no_grad()
def predicted(model: Any, batch: Batch) -> list[InstanceData]:
    """The model's own detections, boxes in pixels of the input."""
    size = tuple(batch.images.shape[-2:])
    common = dict(batch_input_shape=size, pad_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
    samples = [DetDataSample(metainfo=dict(img_shape=tuple(valid), **common)) for valid in batch.sizes.tolist()]
    return [sample.pred_instances for sample in model.predict(batch.images, samples, rescale=False)]


def difference(wanted: InstanceData, found: InstanceData, pixels: float = PIXELS) -> Difference:
    """Each detection is compared with the nearest of its label among the others', both ways.

    pixels: from which boxes are of different objects.
    """
    number = max(len(wanted), len(found))
    if not len(wanted) or not len(found):
        return Difference(0.0, 0.0, number, number)
    boxes = (wanted.bboxes[:, None] - found.bboxes).abs().amax(2)
    scores = (wanted.scores[:, None] - found.scores).abs()
    apart = (boxes / pixels).maximum(scores / SCORES)
    apart[wanted.labels[:, None] != found.labels] = torch.inf
    same = apart.amin(1) <= 1, apart.amin(0) <= 1
    place = apart.argmin(1)[:, None]
    nearest = (values.gather(1, place)[same[0]] for values in (boxes, scores))
    most_pixels, most_score = (float(values.amax()) if len(values) else 0.0 for values in nearest)
    return Difference(most_pixels, most_score, number, max(int((~side).sum()) for side in same))


def overall(differences: list[Difference]) -> Difference:
    boxes, scores, detections, lacking = zip(*differences, strict=True)
    return Difference(max(boxes), max(scores), sum(detections), sum(lacking))


def random_batches(size: tuple[int, int], images: int, seed: int = 0) -> list[Batch]:
    """Noise: images that fill the input, and others that leave a part of it empty."""
    generator = np.random.default_rng(seed)
    height, width = size
    batches = []
    for part in ((height, width), (height * 3 // 4, width), (height, width * 3 // 4)):
        noise = np.zeros((images, 3, height, width), dtype=np.float32)
        noise[:, :, : part[0], : part[1]] = generator.standard_normal((images, 3, *part))
        batches.append(Batch(torch.from_numpy(noise), torch.tensor([part] * images)))
    return batches
