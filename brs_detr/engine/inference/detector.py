"""A trained model as one object: images in, `Detections` out."""

import math
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import PIL.Image
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from brs_detr.data.calibration import Calibration
from brs_detr.data.samples import collate
from brs_detr.engine.inference.coco_ids import CocoIds
from brs_detr.engine.inference.detections import Detections
from brs_detr.engine.inference.loading import class_names, coco_sources, load_model, pipeline_of
from brs_detr.engine.inference.sources import Image, find_images, pixels_of
from brs_detr.engine.inference.video import frames
from brs_detr.engine.progress import console
from brs_detr.engine.running.divergence import DivergenceError, check_predictions
from brs_detr.engine.running.trained import checkpoint_of
from brs_detr.engine.setup import config_errors
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import InputError
from brs_detr.timing.run import usable_device
from brs_detr.weights import read_checkpoint

THRESHOLD = 0.3  # where nothing better is known


class Sample(NamedTuple):
    """An image on its way to the model: its file if it is one, RGB pixels (h, w, 3), and what the pipeline makes."""

    number: int
    path: Path | None
    pixels: np.ndarray
    data: dict[str, Any]


class Detector:
    """A model with the weights of a checkpoint, on a device, in evaluation mode.

    ``detector(image)`` gives the image's `Detections`, ``detector([image, ...])`` a list of them and
    ``detector(folder)`` an iterator; ``for frame, detections in detector.video(file)`` goes through a video. What an
    image may be, `sources.pixels_of` says. Scores are calibrated where the checkpoint has a map for them.

    Several detectors may live in one process, and threads may share one. Nothing of the process is changed: neither
    gradients, nor warnings, nor mmengine's default scope.

    Args:
        config: a work directory, a config's file or name, or a config that has been read.
        checkpoint: by default the best of the work directory, else its last.
        device: cpu, cuda, cuda:1, ...; by default a GPU where there is one.
        threshold: of scores; by default the checkpoint's, else 0.3.
        batch_size: the most images a forward pass.
        pad: let images of different sizes share a forward pass, the smaller ones padded. It is quicker, but then
            results depend a little on the other images: convolutions and group norms see the padding, also in a DETR,
            whose attention leaves it out. Without it, only images on end that reach the model at one size share a pass.
        calibrated: map scores by the checkpoint's calibration, if it has one; without, they are the model's own.
        options: entries of the config to change.

    Raises:
        InputError: anything given cannot be used.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str] | None = None,
        *,
        device: str | torch.device | None = None,
        threshold: float | None = None,
        batch_size: int = 4,
        pad: bool = False,
        calibrated: bool = True,
        options: dict[str, Any] | None = None,
    ) -> None:
        if threshold is not None and not math.isfinite(threshold):
            raise InputError(f"The threshold {threshold} is not a score.")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}: a forward pass needs at least 1 image, a whole number.")
        if isinstance(config, Config) and options:
            raise InputError("options change a config that is given by its name: change the Config itself.")
        self.name = str(config.filename or "that was given") if isinstance(config, Config) else str(config)
        self.device = usable_device(str(device or ("cuda" if torch.cuda.is_available() else "cpu")))
        path = checkpoint_of(self.name, None if checkpoint is None else str(checkpoint))
        content = read_checkpoint(path)
        self.calibration = Calibration.of(content, path) if calibrated else None
        with console.quiet, config_errors.explained(self.name):
            self.config = config if isinstance(config, Config) else load_config(self.name, options, None)
            self.classes = class_names(self.config)
            self.model = load_model(self.config, path, self.device, content)
            self.pipeline = pipeline_of(self.config)
            self.ids = CocoIds(self.classes, coco_sources(self.config))
        stored = None if self.calibration is None else self.calibration.threshold
        self.threshold = next(each for each in (threshold, stored, THRESHOLD) if each is not None)
        self.batch_size, self.pad = batch_size, pad
        self._guessing = threshold is None and stored is None  # that scores reach the threshold
        self._running = threading.Lock()

    @overload
    def __call__(self, images: np.ndarray | torch.Tensor | PIL.Image.Image) -> Detections: ...
    @overload
    def __call__(self, images: list[Image] | tuple[Image, ...]) -> list[Detections]: ...
    @overload
    def __call__(self, images: Any) -> Any: ...
    def __call__(self, images: Any) -> Any:
        """`Detections` of an image, a list of them for a list or tuple, an iterator for a folder, as `stream` has it.

        Raises:
            InputError: an image cannot be used, or a folder holds none.
        """
        if isinstance(images, (list, tuple)):
            return list(self.stream(images))
        if isinstance(images, (str, os.PathLike)) and Path(images).is_dir():
            return self.stream(find_images(images))
        with config_errors.explained(self.name):
            (found,) = self._detect([self._sample(0, images)])
        self._remark(len(found), found.best_score)
        return found

    def stream(
        self, images: Iterable[Image] | str | os.PathLike[str], left_out: list[str] | None = None
    ) -> Iterator[Detections]:
        """The `Detections` of each image, read when its batch's turn comes.

        Args:
            images: any iterable, a folder, or one file.
            left_out: gets a sentence for each image that cannot be used, which is passed over then.

        Raises:
            InputError: an image cannot be used, and there is no `left_out`; those before it have been given.
        """
        if isinstance(images, (str, os.PathLike)):
            images = find_images(images)
        found, best = 0, 0.0
        with config_errors.explained(self.name):
            for batch in batches(self._samples(images, left_out), self.batch_size, self.pad):
                for detections in self._detect(batch):
                    found, best = found + len(detections), max(best, detections.best_score)
                    yield detections
        self._remark(found, best)

    def video(self, path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray, Detections]]:
        """Each frame of a video, RGB (h, w, 3) uint8, with its `Detections`.

        Raises:
            InputError: the file is no video, or breaks off; the frames before have been given.
        """
        with closing(frames(path)) as images:
            for detections in self.stream(images):
                yield detections.image, detections

    def _samples(self, images: Iterable[Image], left_out: list[str] | None) -> Iterator[Sample]:
        for number, image in enumerate(images):
            try:
                sample = self._sample(number, image)
            except InputError as error:
                name = str(image) if isinstance(image, (str, os.PathLike)) else f"Image {number}"
                said = str(error) if name in str(error) else f"{name}: {error}"
                if left_out is None:
                    raise InputError(said) from error
                left_out.append(said)
                continue
            yield sample

    def _sample(self, number: int, image: Image) -> Sample:
        pixels = pixels_of(image)
        with console.quiet:
            data = self.pipeline({"img": pixels[..., ::-1], "img_id": number})
        return Sample(number, Path(image) if isinstance(image, (str, os.PathLike)) else None, pixels, data)

    def _detect(self, batch: list[Sample]) -> list[Detections]:
        try:
            with self._running, torch.no_grad(), console.quiet:
                outputs = self.model.test_step(collate([sample.data for sample in batch]))
            pairs = zip(batch, outputs, strict=True)
            return [self._detections(sample, output.pred_instances.cpu()) for sample, output in pairs]
        except DivergenceError as error:
            raise InputError(f"{error}: the checkpoint's training diverged. Use an earlier one.") from error

    def _detections(self, sample: Sample, found: InstanceData) -> Detections:
        """What is above the threshold, best first.

        Raises:
            DivergenceError: what the model makes of the image is not finite.
        """
        check_predictions(found, str(sample.path or f"image {sample.number}"))
        found = found[found.scores.argsort(descending=True)]
        if self.calibration:
            found.scores = self.calibration(found["scores"])
        best = float(found.scores[0]) if len(found) else 0.0
        found = found[found.scores >= self.threshold]
        return Detections(
            boxes=found.bboxes.numpy(),
            scores=found.scores.numpy(),
            labels=found.labels.numpy(),
            masks=found.masks.numpy() if "masks" in found else None,
            size=(sample.pixels.shape[1], sample.pixels.shape[0]),
            ids=self.ids,
            path=sample.path,
            number=sample.number,
            best_score=best,
            pixels=None if sample.path else sample.pixels,
        )

    def _remark(self, found: int, best: float) -> None:
        """Say once what may be wrong where nothing has been found by a threshold that nobody has chosen."""
        if self._guessing and not found:
            self._guessing = False
            console.warn(
                f"no score reaches the threshold of {THRESHOLD}, the best is {best:.3g}: scores of a ranking loss "
                "have no scale, so choose a lower --score-thr (threshold=... of a Detector), or calibrate the "
                "checkpoint."
            )


def batches(samples: Iterable[Sample], size: int, pad: bool) -> Iterator[list[Sample]]:
    """Up to so many samples on end, of one size unless they may be padded; those before an error come before it."""
    batch: list[Sample] = []
    try:
        for sample in samples:
            if batch and not pad and batch[0].data["inputs"].shape != sample.data["inputs"].shape:
                yield batch
                batch = []
            batch.append(sample)
            if len(batch) == size:
                yield batch
                batch = []
    except InputError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
