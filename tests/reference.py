"""Readers of the reference data, and this project's models in the small sizes it was recorded with."""

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from brs_detr.weights.formats import rename

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT.parent / "shared" / "reference"
needs_reference = pytest.mark.skipif(
    not REFERENCE.exists(),
    reason="the recorded outputs of the released code (../shared/reference) are not here",
)


@functools.cache
def load_reader(folder: Path = REFERENCE) -> ModuleType:
    """The `load.py` of a folder of recorded data."""
    spec = importlib.util.spec_from_file_location(f"load_{folder.name}", folder / "load.py")
    assert spec is not None
    assert spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    return reader


def tiny_config(name: str) -> Config:
    """The model config `configs/_base_/models/{name}.py` in the size of the recorded tiny model."""
    cfg = Config.fromfile(str(ROOT / "configs" / "_base_" / "models" / f"{name}.py"))
    channels, ffn = 64, dict(embed_dims=64, feedforward_channels=128)
    attention = dict(embed_dims=channels)
    cfg.merge_from_dict(
        dict(
            model=dict(
                num_queries=30,
                backbone=dict(base_channels=8, init_cfg=None),
                neck=dict(in_channels=[64, 128, 256], out_channels=channels),
                encoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
                decoder=dict(
                    num_layers=2,
                    layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
                ),
                positional_encoding=dict(num_feats=channels // 2),
                bbox_head=dict(embed_dims=channels, num_classes=7),
                rpn_head=dict(in_channels=channels, feat_channels=channels),
                roi_head=dict(
                    bbox_roi_extractor=dict(out_channels=channels),
                    bbox_head=dict(in_channels=channels, fc_out_channels=128, num_classes=7),
                ),
                atss_head=dict(in_channels=channels, feat_channels=channels, num_classes=7),
            )
        )
    )
    return cfg


def unlimited_samplers(cfg: Config) -> Config:
    """The recorded training steps leave no choice to the samplers."""
    sampler = dict(type="RandomSampler", num=10**10, pos_fraction=1.0, neg_pos_ub=-1)
    cfg.model.train_cfg.rpn.sampler = dict(sampler, add_gt_as_proposals=False)
    cfg.model.train_cfg.rcnn.sampler = dict(sampler, add_gt_as_proposals=True)
    return cfg


def build(cfg: Config, state_dict: dict[str, Tensor] | None = None) -> nn.Module:
    register_all_modules()
    model = MODELS.build(cfg.model)
    if state_dict is not None:
        model.load_state_dict({rename(name): tensor for name, tensor in state_dict.items()})
    return model


def recorded_batch() -> tuple[Tensor, list[DetDataSample]]:
    """The recorded images (2, 3, 128, 160), the second padded, with their ground truth."""
    arrays = load_reader().tiny_eval()
    samples = []
    for i in range(2):
        shape = tuple(int(s) for s in arrays["img_shape"][i])
        sample = DetDataSample(
            metainfo=dict(
                img_shape=shape,
                batch_input_shape=(128, 160),
                pad_shape=tuple(int(s) for s in arrays["pad_shape"][i]),
                scale_factor=tuple(float(s) for s in arrays["scale_factor"][i][:2]),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(arrays[f"gt_bboxes.{i}"]),
            labels=torch.from_numpy(arrays[f"gt_labels.{i}"]),
        )
        samples.append(sample)
    return torch.from_numpy(arrays["img"]), samples
