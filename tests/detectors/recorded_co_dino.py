"""The small Co-DINO of the released code: its weights, its batch, and its random draws, to be drawn again."""

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch
from mmdet.models.layers import CdnQueryGenerator
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from brs_detr.heads import AuxiliaryQueries, AuxiliarySamples, QueryTargets, select_queries
from tests.detectors.recorded_classical import load_detectors
from tests.reference import ROOT, build

CLASSES = 7


@functools.cache
def recorded() -> tuple[dict[str, Tensor], dict[str, Tensor], dict]:
    """Arrays of the evaluation, arrays of the training step, its losses and gradient norms."""
    evaluation, training, log = load_detectors().co_dino()
    return *({k: torch.from_numpy(v) for k, v in arrays.items()} for arrays in (evaluation, training)), log


def small_config(name: str) -> Config:
    """The model config `configs/_base_/models/{name}.py` in the recorded size."""
    cfg = Config.fromfile(str(ROOT / "configs" / "_base_" / "models" / f"{name}.py"))
    ffn = dict(layer_cfg=dict(ffn_cfg=dict(feedforward_channels=64)))
    heads = dict(feat_channels=32)
    small = dict(
        num_queries=30,
        backbone=dict(base_channels=8, init_cfg=None),
        neck=dict(in_channels=[32, 64, 128, 256]),
        encoder=dict(num_layers=1, **ffn),
        decoder=dict(num_layers=2, **ffn),
        bbox_head=dict(num_classes=CLASSES),
        rpn_head=heads,
        roi_head=dict(bbox_head=dict(fc_out_channels=32, num_classes=CLASSES)),
        atss_head=dict(num_classes=CLASSES, **heads),
        test_cfg=dict(detr=dict(max_per_img=30)),
    )
    cfg.merge_from_dict(dict(model=small))
    return cfg


def small_model(cfg: Config) -> nn.Module:
    return build(cfg, load_detectors().state("dino_codetr"))


def batch() -> tuple[Tensor, list[DetDataSample]]:
    """The recorded images (2, 3, 96, 128), the second padded, with their ground truth."""
    arrays, samples = recorded()[0], []
    for i in range(2):
        shape, (sx, sy) = tuple(arrays["img_shape"][i].tolist()), arrays["scale_factor"][i, :2].tolist()
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=(96, 128), scale_factor=(sx, sy))
        )
        sample.gt_instances = InstanceData(bboxes=arrays[f"gt_bboxes.{i}"], labels=arrays[f"gt_labels.{i}"])
        samples.append(sample)
    return arrays["img"], samples


@contextmanager
def recorded_noise() -> Iterator[None]:
    """The random numbers of the denoising queries, in the order in which they are drawn."""
    arrays, generate = recorded()[1], CdnQueryGenerator.__call__

    def noised_queries(self: CdnQueryGenerator, samples: list[DetDataSample]) -> tuple:
        with ExitStack() as stack:
            for function, names in (("rand_like", ("p", "part")), ("randint_like", ("new_label", "sign01"))):
                draws = [arrays[f"dn.draw_{name}"].clone() for name in names]
                stack.enter_context(mock.patch(f"torch.{function}", side_effect=draws))
            return generate(self, samples)

    with mock.patch.object(CdnQueryGenerator, "__call__", noised_queries):
        yield


@contextmanager
def recorded_choice_of_queries() -> Iterator[None]:
    """Replaces the random choice of queries by the recorded one, after checking that it could be the same."""
    heads = iter(range(2))

    def choose(samples: list[AuxiliarySamples], img_shapes: list, num_classes: int, **kwargs) -> AuxiliaryQueries:
        queries = _recorded_queries(next(heads))
        everything = max(len(s.boxes) for s in samples)
        ours = select_queries(samples, img_shapes, num_classes, least=everything, most=everything)
        distance = torch.cdist(queries.boxes, ours.boxes, compute_mode="donot_use_mm_for_euclid_dist")
        assert distance.amin(-1).max() < 1e-4
        return queries

    with mock.patch("brs_detr.detectors.co_detr.select_queries", choose):
        yield


def _recorded_queries(head: int) -> AuxiliaryQueries:
    fields = ("coords", "labels", "label_weights", "targets", "bbox_weights")
    boxes, labels, *rest = (recorded()[1][f"aux_targets#{head}.{name}"] for name in fields)
    positives = int((labels < CLASSES).sum())
    targets = QueryTargets(list(labels), *map(list, rest), positives, labels.numel() - positives)
    return AuxiliaryQueries(boxes, torch.zeros(0), targets)
