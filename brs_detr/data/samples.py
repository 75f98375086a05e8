"""What the pipeline of a data set hands to the model: an image, and in training its objects."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.model import is_model_wrapper
from torch import nn

from brs_detr.data.coco_file import listed
from brs_detr.errors import InputError

OBJECTS = ("bboxes", "labels")
MASKS = "masks"


def taught(model: nn.Module) -> tuple[str, ...]:
    """What of the objects a training of this model reads. Of masks only those of an RoI head: some detectors of one
    stage learn them from boxes."""
    detector = model.module if is_model_wrapper(model) else model
    learns_masks = getattr(getattr(detector, "roi_head", None), "with_mask", False)
    return (*OBJECTS, MASKS) if learns_masks else OBJECTS


def collate(samples: Sequence[Any], objects: Sequence[str] = ()) -> Any:
    """A batch of samples, as mmengine's ``pseudo_collate`` makes it.

    Args:
        samples: from the pipeline.
        objects: what a training reads of them, as `taught` says; nothing in an evaluation.

    Raises:
        InputError: a sample lacks what the model takes, as the pipeline leaves a step out.
    """
    for sample in samples:
        if problem := fault_of(sample, objects):
            raise InputError(f"The pipeline of the {'training' if objects else 'evaluation'} data {problem}")
    return pseudo_collate(samples)


def fault_of(sample: Any, objects: Sequence[str]) -> str | None:
    """What a pipeline did wrong, and the remedy."""
    keys = [str(key) for key in sample] if isinstance(sample, Mapping) else []
    if "data_samples" not in keys:
        return f"gives {listed(keys, 3) or 'nothing'}, but no data_samples: let `PackDetInputs` be its last step."
    if "inputs" not in keys:
        return "loads no image: let `LoadImageFromFile` be its first step."
    absent = absent_of(sample["data_samples"], objects) if isinstance(sample["data_samples"], DetDataSample) else []
    if absent == [MASKS]:
        return "loads no masks, from which this model learns: give its `LoadAnnotations` with_mask=True."
    if absent:
        return "loads no objects: put `LoadAnnotations` with with_bbox=True after the step that loads the image."
    return None


def absent_of(sample: DetDataSample, objects: Sequence[str]) -> list[str]:
    """What the list of objects lacks, in which none may be."""
    return [name for name in objects if name not in sample.get("gt_instances", ())]
