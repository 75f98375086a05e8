"""Any model of timm as a detector's backbone."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import timm
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from timm.layers import Format
from torch import Tensor, nn

from brs_detr.errors import InputError
from brs_detr.weights import Skeleton, load_content

from .timm_models import (
    evaluate_frozen,
    feature_model,
    freeze_stages,
    match_names,
    model_options,
    pretrained_weights,
    recompute_activations,
)


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """The feature maps of a timm model.

    Images (N, 3, H, W), normalised as the model was trained (see its `pretrained_cfg` in timm), give a map
    (N, C, H / stride, W / stride) for each of `out_indices`. `out_channels` lists C, which a neck needs as
    `in_channels`, and `strides` the strides. A few models need sides that are multiples of 32: set
    `pad_size_divisor` of the data preprocessor.

    model_name: as `timm.list_models()` has it.
    out_indices: of timm's feature maps; negative ones count from the last.
    pretrained: initialise from timm's own weights (cache or download). Files of one's own:
        ``init_cfg=dict(type="PretrainedWeights", checkpoint=...)``.
    drop_path_rate: of the last block; it grows linearly from 0.
    frozen_stages: -1 none, 0 the stem, n also the first n stages (modules that end at stride 4, 8, ...).
    norm_eval: keep the running statistics of every batch norm.
    with_cp: compute activations again in the backward pass, which saves memory.
    out_norm: a layer norm on every map, as mmdet's Swin has it.
    pyramid: strides of the maps to make of the last feature, for models whose features have one stride (ViT).
    options: further arguments of `timm.create_model`.

    Raises:
        InputError: timm has no such model, or it gives no feature maps or maps of one stride, or takes images
            of one size, or cannot recompute activations.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] = (-3, -2, -1),
        pretrained: bool = False,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        out_norm: bool = False,
        pyramid: Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if pretrained and init_cfg:
            raise InputError(f"{model_name}: give either pretrained=True or init_cfg, not both.")
        self.model_name, self.pretrained, self.norm_eval = model_name, pretrained, norm_eval
        self.options = model_options(model_name, drop_path_rate, options or {})
        self.model = feature_model(model_name, out_indices[-1:] if pyramid else out_indices, self.options)
        info = self.model.feature_info
        self.strides, self.out_channels = info.reduction(), info.channels()
        self.pyramid = self._build_pyramid(pyramid)
        levels = range(len(self.strides)) if pyramid else [index % len(info.info) for index in out_indices]
        self.norms = [f"norm{level}" for level in levels] if out_norm else []  # as mmdet names them
        for name, channels in zip(self.norms, self.out_channels, strict=False):
            self.add_module(name, nn.LayerNorm(channels))
        if with_cp:
            recompute_activations(self.model)
        stages = [stage["module"] for stage in info.info if stage["reduction"] >= 4]
        freeze_stages(self.model, stages, frozen_stages)

    def _build_pyramid(self, strides: Sequence[int] | None) -> "SimplePyramid | None":
        stride, channels = self.strides[-1], self.out_channels[-1]
        if strides:
            self.strides, self.out_channels = list(strides), [channels] * len(strides)
            return SimplePyramid(channels, stride, strides)
        if len(set(self.strides)) < len(self.strides):
            raise InputError(
                f"timm's {self.model_name} gives maps of stride {stride} only: set pyramid=(8, 16, 32) to "
                "make maps of these strides of the last one, or take that alone, out_indices=(-1,)."
            )
        return None

    @cached_property
    def timm_names(self) -> dict[str, str | None]:
        """For each tensor of the whole timm model its name here; None for what the features do not need."""
        with Skeleton():
            whole = timm.create_model(self.model_name, **self.options).state_dict()
        inner = match_names(whole, self.model.state_dict())
        return {name: f"model.{found}" if found else None for name, found in inner.items()}

    def init_weights(self) -> None:
        """As `init_cfg` says, or with timm's own weights.

        Raises:
            InputError: the weights cannot be fetched.
        """
        super().init_weights()
        if self.pretrained:
            weights = pretrained_weights(self.model_name, self.options)
            load_content(self, weights, f"of timm's {self.model_name}")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.model(images)
        if getattr(self.model, "output_fmt", None) == Format.NHWC:
            maps = [x.movedim(-1, 1) for x in maps]
        if self.pyramid is not None:
            maps = self.pyramid(maps[-1])
        if self.norms:
            norms = [self.get_submodule(name) for name in self.norms]
            maps = [norm(x.movedim(1, -1)).movedim(-1, 1) for norm, x in zip(norms, maps, strict=True)]
        return tuple(x.contiguous() for x in maps)

    def train(self, mode: bool = True) -> "TimmBackbone":
        super().train(mode)
        if mode:
            evaluate_frozen(self.model, all_norms=self.norm_eval)
        return self


class SimplePyramid(nn.Module):
    """Maps of several strides from the one map of a plain ViT (ViTDet; Li et al., ECCV 2022, figure 2).

    From a map (N, C, H, W) of stride s maps (N, C, H s / t, W s / t) for every stride t in `strides`.

    Finer maps by transposed 2 x 2 convolutions, coarser ones by max pooling.

    Raises:
        ValueError: a stride is not `stride` times or divided by a power of 2.
    """

    def __init__(self, channels: int, stride: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level(channels, stride, wanted) for wanted in strides)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(level(x) for level in self.levels)


def _level(channels: int, stride: int, wanted: int) -> nn.Module:
    doublings = math.log2(stride / wanted)
    if not doublings.is_integer():
        raise ValueError(f"No map of stride {wanted} from one of stride {stride}: their ratio is no power of 2.")
    if doublings <= 0:
        return nn.Sequential(*(nn.MaxPool2d(2, ceil_mode=True) for _ in range(-int(doublings))))
    layers: list[nn.Module] = []
    for _ in range(int(doublings)):
        layers += [nn.ConvTranspose2d(channels, channels, 2, stride=2), nn.GroupNorm(1, channels), nn.GELU()]
    return nn.Sequential(*layers[:-2])
