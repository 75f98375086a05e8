"""COCO's evaluation by pycocotools and by faster-coco-eval, on a synthetic set as large as COCO's val2017.

    python -m benchmarks.evaluation                              # 5000 images, 100 detections each
    python -m benchmarks.evaluation --images 500 --what boxes masks

Seconds are those of all threads together, for matching and precision without reading any file. Both must give the same
precision for every class, threshold and size. Writes benchmarks/results/evaluation_cpu.md.
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from pycocotools import cocoeval, mask
from pycocotools.coco import COCO

from brs_detr.data.coco_evaluation import evaluation_class
from brs_detr.engine.progress.console import silence_prints, silence_third_parties
from brs_detr.files import write_text
from brs_detr.timing.report import environment

from .report import markdown

RESULTS = Path(__file__).parent / "results" / "evaluation_cpu.md"
CLASSES, WIDTH, HEIGHT = 80, 640, 480
OBJECTS = 7.3  # of an image on average, as in val2017
CROWDS = 0.02  # share of the objects
KINDS = {"boxes": "bbox", "masks": "segm"}
PRECISIONS = "precision", "recall"


def random_boxes(random: Generator, number: int) -> np.ndarray:
    """Boxes (N, 4) xywh in pixels, of all of COCO's sizes, within the image."""
    sides = np.exp(random.uniform(np.log(8), np.log(300), (number, 2)))
    corners = random.uniform(0, 1, (number, 2)) * ([WIDTH, HEIGHT] - sides)
    return np.concatenate([corners, sides], axis=1)


def found_boxes(random: Generator, boxes: np.ndarray, labels: np.ndarray, number: int) -> tuple[np.ndarray, ...]:
    """Boxes (N, 4), labels and scores: each object twice, moved by a tenth, sometimes of another class; and false ones.

    Scores have two decimals, so that many are equal.
    """
    near = np.tile(boxes, (2, 1))[:number]
    near[:, :2] += random.normal(0, 0.1, (len(near), 2)) * near[:, 2:]
    right = np.tile(labels, 2)[:number]
    other = random.integers(0, CLASSES, number)
    kept = np.where(random.random(len(right)) < 0.8, right, other[: len(right)])
    scores = random.random(number) * np.where(np.arange(number) < len(near), 1.0, 0.5)
    false = random_boxes(random, number - len(near))
    return np.concatenate([near, false]), np.concatenate([kept, other[len(right) :]]), scores.round(2)


def polygon(box: np.ndarray) -> list[float]:
    """A triangle in a box."""
    x, y, width, height = box.tolist()
    return [x, y, x + width, y + height / 2, x, y + height]


def run_lengths(box: np.ndarray) -> dict[str, Any]:
    (encoded,) = mask.frPyObjects([polygon(box)], HEIGHT, WIDTH)
    return {**encoded, "counts": encoded["counts"].decode()}


def synthetic(images: int, detections: int, masks: bool = False, seed: int = 0) -> tuple[dict, list[dict]]:
    """A ground truth and results in COCO's formats; ids of images and categories have gaps."""
    random = np.random.default_rng(seed)
    truth: dict[str, list] = {"images": [], "annotations": []}
    truth["categories"] = [dict(id=3 * label + 1, name=f"class {label}") for label in range(CLASSES)]
    results = []
    for image in range(5, 5 + 2 * images, 2):
        truth["images"].append(dict(id=image, width=WIDTH, height=HEIGHT, file_name=f"{image}.jpg"))
        boxes = random_boxes(random, random.poisson(OBJECTS))
        labels, crowds = random.integers(0, CLASSES, len(boxes)), random.random(len(boxes)) < CROWDS
        for box, label, crowd in zip(boxes, labels, crowds, strict=True):
            place = dict(id=len(truth["annotations"]) + 1, image_id=image, category_id=3 * int(label) + 1)
            shape = dict(segmentation=run_lengths(box) if crowd else [polygon(box)]) if masks else {}
            area = float(box[2] * box[3]) / (2 if masks else 1)
            truth["annotations"].append({**place, "bbox": box.tolist(), "area": area, "iscrowd": int(crowd), **shape})
        for box, label, score in zip(*found_boxes(random, boxes, labels, detections), strict=True):
            found = dict(image_id=image, category_id=3 * int(label) + 1, score=float(score))
            results.append(found | (dict(segmentation=run_lengths(box)) if masks else dict(bbox=box.tolist())))
    return truth, results


def evaluate(kind: type, truth: dict, results: list[dict], what: str) -> tuple[Any, float]:
    """An evaluation with mmdet's settings, and its seconds; what: bbox or segm."""
    ground_truth = COCO()
    ground_truth.dataset = truth
    ground_truth.createIndex()
    evaluation = kind(ground_truth, ground_truth.loadRes([dict(each) for each in results]), what)
    evaluation.params.maxDets = [100, 300, 1000]
    start = time.process_time()
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation, time.process_time() - start


def difference(first: Any, second: Any) -> float:
    """The largest of any precision, recall and metric of two evaluations."""
    tables = [np.abs(first.eval[name] - second.eval[name]).max() for name in PRECISIONS]
    return float(max(*tables, np.abs(first.stats - second.stats).max()))


def compared(what: str, images: int, detections: int) -> list[str]:
    """A row of the table."""
    data = synthetic(images, detections, masks=what == "masks")
    (slow, before), (fast, after) = (evaluate(evaluation_class(faster), *data, KINDS[what]) for faster in (False, True))
    return [what, f"{before:.1f}", f"{after:.1f}", f"{before / after:.1f}", f"{difference(slow, fast):.0e}"]


def head(images: int, detections: int) -> str:
    where = environment(torch.device("cpu"))
    packages = ", ".join(f"{name} {version(name)}" for name in ("pycocotools", "faster-coco-eval"))
    return (
        f"{where['device']}, Python {where['python']}, {packages}\n\n"
        f"By `python -m benchmarks.evaluation`: {images} images, {CLASSES} classes, {OBJECTS} objects and {detections} "
        "detections an image."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="of an image")
    parser.add_argument("--what", nargs="+", choices=KINDS, default=["boxes"])
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE")
    args = parser.parse_args()
    silence_third_parties()
    silence_prints(cocoeval)
    header = ["", "pycocotools, s", "faster-coco-eval, s", "ratio", "largest difference"]
    rows = [compared(what, args.images, args.detections) for what in args.what]
    text = f"{head(args.images, args.detections)}\n\n{markdown(header, rows)}\n"
    print(text)
    write_text(args.out, text)


if __name__ == "__main__":
    main()
