"""A trained model as one file of ONNX, compared with torch before it takes its place."""

import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from brs_detr.data.calibration import Calibration
from brs_detr.data.checks import leaf_datasets
from brs_detr.data.images import read_image
from brs_detr.engine.export.comparing import Batch, Difference, check_equal, random_batches
from brs_detr.engine.export.graph import DetectionGraph
from brs_detr.engine.export.onnx_file import write_graph
from brs_detr.engine.export.preprocessing import Preprocessing, preprocessing_of
from brs_detr.engine.inference.loading import class_names, load_model
from brs_detr.engine.inference.sources import find_images
from brs_detr.engine.progress import console
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import InputError
from brs_detr.files import check_destination, whole_file
from brs_detr.version import __version__
from brs_detr.weights import read_checkpoint

PACKAGES = {"onnx": "onnx>=1.16,<2", "onnxruntime": "onnxruntime>=1.18,<2"}  # and their releases that will do
SUFFIX = ".onnx"


def export(
    config_path: str,
    checkpoint: str,
    out: Path,
    *,
    size: str | None = None,
    dynamic_batch: bool = False,
    overwrite: bool = False,
    options: dict[str, Any] | None = None,
) -> tuple[Preprocessing, Difference]:
    """Write a model with its weights, calibration, class names and preprocessing, for images of one size.

    size: of the input in pixels, ``N`` or ``WxH``; by default that of the test pipeline.
    dynamic_batch: any number of images at once, instead of one.

    Returns:
        What the input is, and how far onnxruntime is from torch.

    Raises:
        InputError: something given cannot be used, the model cannot be exported, or the file detects something else.
    """
    check_given(out, overwrite)
    console.silence_third_parties()
    config = load_config(config_path, options, None)
    content = read_checkpoint(checkpoint)
    calibration = Calibration.of(content, checkpoint)
    model = load_model(config, checkpoint, "cpu", content)
    if getattr(model, "with_mask", False):
        console.warn("the file gives boxes alone: masks are not exported.")
    preprocessing = preprocessing_of(config, model.data_preprocessor, size)
    graph = DetectionGraph(model, (preprocessing.height, preprocessing.width), calibration).eval()
    metadata = dict(
        preprocessing=preprocessing.as_dict(),
        classes=class_names(config),
        threshold=calibration.threshold if calibration else None,
        model=type(model).__name__,
        producer=f"brs-detr {__version__}",
    )
    batches = random_batches(graph.size, images=3 if dynamic_batch else 1)
    batches += islice((image_batch(pixels, preprocessing) for pixels in readable_images(config)), 1)
    with whole_file(out) as temporary:
        write_graph(graph, temporary, metadata, dynamic_batch=dynamic_batch)
        return preprocessing, check_equal(temporary, graph, batches, calibration)


def check_given(out: Path, overwrite: bool) -> None:
    """Raises InputError if the file cannot be written, or a package is missing."""
    if out.suffix != SUFFIX:
        raise InputError(f"{out} must end in {SUFFIX}.")
    check_destination(out)
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another --onnx, or replace it with --overwrite.")
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        needed = " ".join(f'"{requirement}"' for requirement in PACKAGES.values())
        raise InputError(f"{missing[0]} is not installed: export needs it, `pip install {needed}`.")


def readable_images(config: Config) -> Iterator[np.ndarray]:
    """The images of the test data, if they are here, as RGB pixels (h, w, 3); damaged ones are passed over.

    Annotations, which may be elsewhere, need not be here: names below the folder of images count.
    """
    dataset = next(leaf_datasets(config.test_dataloader.dataset))
    folder = Path(dataset.get("data_root") or "", (dataset.get("data_prefix") or {}).get("img") or "")
    if folder != Path() and folder.is_dir():
        with suppress(InputError):  # there is none
            for path in find_images(folder):
                with suppress(InputError):
                    yield read_image(path)


def image_batch(pixels: np.ndarray, preprocessing: Preprocessing) -> Batch:
    image, size = preprocessing(pixels)
    return Batch(torch.from_numpy(image[np.newaxis]), torch.tensor([size]))
