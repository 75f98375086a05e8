"""Checks of a config against its data before anything is built; each problem is one sentence with file and remedy.

Images are too many to open beforehand: a few are, and `LoadImage` says which one cannot be read when its turn comes.
"""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset, LVISV05Dataset
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config, ConfigDict

from brs_detr.data.coco_api import MendedCOCO
from brs_detr.data.coco_checks import check_sample, check_source
from brs_detr.data.coco_file import CocoSource, listed, read_annotations
from brs_detr.errors import InputError

LVIS_REMEDY = "run `pip install git+https://github.com/lvis-dataset/lvis-api.git`."


def leaf_datasets(dataset: ConfigDict) -> Iterator[ConfigDict]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset."""
    inner = dataset.get("datasets") or ([dataset["dataset"]] if "dataset" in dataset else [])
    if not inner:
        yield dataset
    for each in inner:
        yield from leaf_datasets(each)


def format_of(dataset: ConfigDict) -> type[Any]:
    """The class that reads it; `object` for an unknown one."""
    kind = dataset["type"]
    return (DATASETS.get(kind) or object) if isinstance(kind, str) else kind


def classes_of(dataset: ConfigDict) -> tuple[str, ...]:
    """Its class names in the order of their labels: the config's, or those of its format.

    Raises:
        InputError: the config's are no list of distinct names, nor a file with one a line.
    """
    metainfo = dataset.get("metainfo") or {}
    if metainfo.get("classes") is None:
        return tuple(format_of(dataset).METAINFO["classes"])
    given = metainfo["classes"]
    if isinstance(given, str):
        if not Path(given).is_file():  # which mmengine reads
            raise InputError(f"metainfo.classes is one string, not a list of names: write ({given!r},) with a comma.")
        given = Path(given).read_text().splitlines()
    names = tuple(given) if isinstance(given, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"metainfo.classes is {given!r}: give a list of names, such as ('cat', 'dog').")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"metainfo.classes names {listed(twice)} twice: give each class once.")
    return names


def coco_source(dataset: ConfigDict, evaluators: list[ConfigDict]) -> CocoSource | None:
    """None where the data set is of another format, or its files are not local.

    evaluators: those that compare predictions with it.
    """
    kind = format_of(dataset)
    root = dataset.get("data_root") or ""
    if not issubclass(kind, CocoDataset) or "://" in root:
        return None
    training = not dataset.get("test_mode", False)
    return CocoSource(
        annotations=Path(root, dataset.get("ann_file", "")),
        images=Path(root, (dataset.get("data_prefix") or {}).get("img", "")),
        root=Path(root),
        classes=classes_of(dataset),
        training=training,
        scored=bool(evaluators),
        masks=any(step.get("with_mask", False) for step in dataset.get("pipeline", []))
        or any("segm" in each.get("metric", "") for each in evaluators),
        least_side=(dataset.get("filter_cfg") or {}).get("min_size", 0) if training else 0,
        mended=kind.COCOAPI is MendedCOCO,
    )


def check_lvis() -> None:
    """Look for the package that reads and evaluates LVIS, without importing it, before an epoch has been spent.

    Raises:
        InputError: it is missing, or is the release that fails with NumPy 1.24 and later when it evaluates.
    """
    spec = importlib.util.find_spec("lvis")
    if spec is None or spec.origin is None:
        raise InputError(f"LVIS data need the package lvis: {LVIS_REMEDY}")
    evaluation = Path(spec.origin).with_name("eval.py")
    if evaluation.exists() and re.search(r"\bnp\.float\b", evaluation.read_text()):
        raise InputError(f"The package lvis in {evaluation.parent} is too old for today's NumPy: {LVIS_REMEDY}")


def declared_class_counts(model: ConfigDict, path: str = "model") -> Iterator[tuple[str, int]]:
    """Each ``num_classes`` of a model's config with its place; not those of backbones and RPNs."""
    items = model.items() if isinstance(model, dict) else enumerate(model)
    for key, value in items:
        if key == "num_classes" and isinstance(value, int):
            yield f"{path}.{key}", value
        elif isinstance(value, (dict, list, tuple)) and key not in ("backbone", "rpn_head"):
            yield from declared_class_counts(value, f"{path}.{key}")


def check_class_counts(model: ConfigDict, classes: tuple[str, ...], annotations: Path | None = None) -> None:
    """Every head has as many classes as the data.

    annotations: the COCO file that the classes, which a config may have inherited, are to be those of.

    Raises:
        InputError: one has another number.
    """
    wrong = [(place, count) for place, count in declared_class_counts(model) if count != len(classes)]
    if wrong:
        place, count = wrong[0]
        if annotations is None:
            raise InputError(
                f"The config says {place} = {count}, but metainfo.classes of its data names {len(classes)} "
                f"({listed(classes)}): give both the classes that the model was trained on."
            )
        own = tuple(each["name"] for each in read_annotations(annotations)[0]["categories"])
        if not set(classes) <= set(own):
            raise InputError(
                f"{annotations} has {len(own)} classes ({listed(own)}), but metainfo.classes names others "
                f"({listed(classes)}), and the config says {place} = {count}: set metainfo.classes in every data set "
                f"to those of the file, and num_classes to {len(own)}; or let `train --data` do both."
            )
        raise InputError(
            f"The config says {place} = {count}, but its data has {len(classes)} classes "
            f"({listed(classes)}): set it to {len(classes)}."
        )


def coco_evaluators(config: Config, split: str) -> list[ConfigDict]:
    """The split's evaluators that compare with a COCO file, not those that only write predictions."""
    evaluators = config.get(f"{split}_evaluator") or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    kinds = [METRICS.get(each["type"]) if isinstance(each["type"], str) else each["type"] for each in evaluators]
    return [
        each
        for each, kind in zip(evaluators, kinds, strict=True)
        if kind and issubclass(kind, CocoMetric) and not each.get("format_only", False)
    ]


def check_several(config: Config, split: str, sources: list[CocoSource]) -> None:
    """Images of several files, whose ids may be the same, are not compared with the objects of one of them."""
    files = {source.annotations.resolve(): source.annotations for source in sources}
    read = listed([*map(str, files.values())])
    for evaluator in coco_evaluators(config, split) if len(files) > 1 else ():
        if (file := evaluator.get("ann_file")) and Path(file).resolve() in files:
            raise InputError(
                f"{split}_dataloader reads {read}, but {split}_evaluator compares all their images with "
                f"{file}: evaluate one data set, or each by a metric of a MultiDatasetsEvaluator."
            )


def check_evaluators(config: Config, split: str, sources: list[CocoSource]) -> None:
    """Evaluators compare with the file that the images come from; of several data sets, with none of theirs alone."""
    check_several(config, split, sources)
    for evaluator in coco_evaluators(config, split) if len(sources) == 1 else ():
        file, own = evaluator.get("ann_file"), sources[0].annotations
        if file and "://" not in file and Path(file).resolve() != own.resolve():
            raise InputError(
                f"{split}_evaluator compares with {file}, but {split}_dataloader reads {own}: set "
                f"{split}_evaluator.ann_file to the same file."
            )


def coco_sources(config: Config, split: str) -> list[CocoSource]:
    """The COCO files that a split's data loader reads.

    Raises:
        InputError: model or evaluator do not go with them.
    """
    loader = config.get(f"{split}_dataloader")
    evaluators = coco_evaluators(config, split)
    sources: list[CocoSource] = []
    for dataset in leaf_datasets(loader["dataset"]) if loader else ():
        if issubclass(format_of(dataset), LVISV05Dataset):
            check_lvis()
        if source := coco_source(dataset, evaluators):
            check_class_counts(config.model, source.classes or (), source.annotations)
            sources.append(source)
    check_evaluators(config, split, sources)
    return list(dict.fromkeys(sources))


def check_data(config: Config, splits: tuple[str, ...] = ("train", "val")) -> list[str]:
    """Check what the data loaders of these splits will read, and that the model has as many classes.

    Returns:
        Remarks worth logging.

    Raises:
        InputError: something is missing or does not match.
    """
    remarks: list[str] = []
    for source in dict.fromkeys(source for split in splits for source in coco_sources(config, split)):
        report = check_source(source)
        found = report.mended + report.remarks + check_sample(source, report.content)
        remarks += [f"{source.annotations}: {remark}." for remark in found]
    return remarks
