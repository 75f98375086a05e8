"""What the pipeline of a data set hands to the model: an image, and in training its objects."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate

from brs_detr.data.coco_file import listed
from brs_detr.errors import InputError

OBJECTS = ("bboxes", "labels")


def collate(samples: Sequence[Any], training: bool = False) -> Any:
    """A batch of samples, as mmengine's ``pseudo_collate`` makes it.

    Raises:
        InputError: a sample lacks what the model takes, as the pipeline leaves a step out.
    """
    for sample in samples:
        if problem := fault_of(sample, training):
            raise InputError(f"The pipeline of the {'training' if training else 'evaluation'} data {problem}")
    return pseudo_collate(samples)


def fault_of(sample: Any, training: bool) -> str | None:
    """What a pipeline did wrong, and the remedy."""
    keys = [str(key) for key in sample] if isinstance(sample, Mapping) else []
    if "data_samples" not in keys:
        return f"gives {listed(keys, 3) or 'nothing'}, but no data_samples: let `PackDetInputs` be its last step."
    if "inputs" not in keys:
        return "loads no image: let `LoadImageFromFile` be its first step."
    if training and isinstance(sample["data_samples"], DetDataSample) and not has_objects(sample["data_samples"]):
        return "loads no objects: put `LoadAnnotations` with with_bbox=True after the step that loads the image."
    return None


def has_objects(sample: DetDataSample) -> bool:
    """Whether there is a list of objects, of which none may be in it."""
    return "gt_instances" in sample and all(name in sample.gt_instances for name in OBJECTS)
