"""Test-time augmentation: detect in several views of an image, and merge the boxes."""

from mmengine.config import Config, ConfigDict

from brs_detr.engine.setup import pipelines
from brs_detr.engine.setup.adapting import limited
from brs_detr.errors import InputError

SCALES = (1.0, 1.25)  # times the size of the test pipeline
MERGED = dict(type="nms", iou_threshold=0.5)  # how, as in mmdet
MOST = 100  # boxes of an image, unless the config keeps more
SEEN = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")


def use_views(config: Config) -> str:
    """Let the config's test be of several sizes of an image, and of the reflections that training has shown.

    A `tta_model` or `tta_pipeline` of the config, as mmdet's tools read them, is taken as it is.

    Returns:
        What the views are.

    Raises:
        InputError: the model finds masks, which mmdet does not merge, or nothing in the pipeline resizes images.
    """
    if any("mask_head" in part for part in (config.model, config.model.get("roi_head") or {})):
        raise InputError(f"--tta merges boxes alone, and the model of {config.filename} finds masks as well.")
    flips, own = training_flips(config), config.get("tta_pipeline")
    pipelines.change(config, ("test",), lambda steps: own or in_views(steps, flips))
    most = max([MOST, *(each["max_per_img"] for each in limited(config.model.get("test_cfg")))])
    wrapper = config.get("tta_model") or dict(type="DetTTAModel", tta_cfg=dict(nms=MERGED, max_per_img=most))
    config.model = ConfigDict(**wrapper, module=config.model)
    if own:
        return "Test-time augmentation: the views of tta_pipeline."
    sizes = " and ".join(f"{scale:g}" for scale in SCALES)
    reflections = f"as they are and reflected ({', '.join(flips)})" if flips else "not reflected, for training is not"
    return f"Test-time augmentation: images of {sizes} times their size, {reflections}; boxes are merged by NMS."


def training_flips(config: Config) -> list[str]:
    """The directions in which training images are reflected."""
    found: dict[str, None] = {}
    for holder in pipelines.holders(config, "train"):
        for step in pipelines.steps(holder.pipeline):
            if step["type"] == "RandomFlip" and step.get("prob"):
                directions = step.get("direction", "horizontal")
                found |= dict.fromkeys([directions] if isinstance(directions, str) else directions)
    return list(found)


def in_views(pipeline: list, flips: list[str]) -> list:
    """A test pipeline whose images are taken in all sizes and reflections.

    Raises:
        InputError: no step of it resizes images to a size.
    """
    place = next((index for index, step in enumerate(pipeline) if pipelines.is_pair(step.get("scale"))), None)
    if place is None:
        raise InputError("--tta: no step of the test pipeline has a scale to change; give the config a tta_pipeline.")
    resize, *between, pack = pipeline[place:]
    sizes = [{**resize, "scale": tuple(round(scale * side) for side in resize["scale"])} for scale in SCALES]
    reflections = [dict(type="RandomFlip", prob=1.0, direction=direction) for direction in flips]
    transforms = [sizes, [dict(type="RandomFlip", prob=0.0), *reflections], *([step] for step in between)]
    return [
        *pipeline[:place],
        dict(type="TestTimeAug", transforms=[*transforms, [{**pack, "meta_keys": SEEN}]]),
    ]
