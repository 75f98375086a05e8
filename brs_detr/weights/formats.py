"""The kinds of checkpoint that are understood: names and layouts of detectors and of backbones.

A detector's file is translated in two parts: what begins with ``backbone.`` by the backbone's format, the
rest by the detector's. A format translates to a common layout and back: that of detectors is this project's,
that of Swin Microsoft's, that of all other backbones their authors' (torchvision, timm).
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

from mmdet.models.backbones.swin import swin_converter
from torch import Tensor

Entry = tuple[str, Tensor]
NOTHING = r"(?!)"


def unchanged(name: str, tensor: Tensor) -> Entry:
    return name, tensor


@dataclass(frozen=True)
class Format:
    """A naming and layout of weights.

    title: as the report says it.
    matches: whether these names are of this format.
    to_common, from_common: one entry of a state_dict between this format and the common layout.
    unused: pattern of names (common layout) that may find no place in a model, such as classifiers.
    fresh: pattern of names (common layout) that a model may have and such a file not.
    """

    title: str
    matches: Callable[[Collection[str]], bool]
    to_common: Callable[[str, Tensor], Entry] = unchanged
    from_common: Callable[[str, Tensor], Entry] = unchanged
    unused: str = NOTHING
    fresh: str = NOTHING


def detect(names: Collection[str], formats: tuple[Format, ...]) -> Format:
    """The first format that matches; the last one of `DETECTORS` and of `BACKBONES` takes everything."""
    return next(known for known in formats if known.matches(names))


# Co-DETR and BRS-DETR as released: the modules of mmdet 2.x.

_LAYER = r"^query_head\.transformer\.(encoder|decoder)\.layers\.(\d+)\."
_RELEASED_NAMES = (
    (_LAYER + r"attentions\.0\.", r"\1.layers.\2.self_attn."),
    (_LAYER + r"attentions\.1\.", r"\1.layers.\2.cross_attn."),
    (_LAYER + r"ffns\.0\.", r"\1.layers.\2.ffn."),
    (r"^query_head\.transformer\.decoder\.ref_point_head\.0\.", "decoder.ref_point_head.layers.0."),
    (r"^query_head\.transformer\.decoder\.ref_point_head\.2\.", "decoder.ref_point_head.layers.1."),
    (r"^query_head\.transformer\.(encoder|decoder)\.", r"\1."),
    (r"^query_head\.transformer\.level_embeds$", "level_embed"),
    (r"^query_head\.transformer\.enc_output\.", "memory_trans_fc."),
    (r"^query_head\.transformer\.enc_output_norm\.", "memory_trans_norm."),
    (r"^query_head\.transformer\.pos_trans\.", "pos_trans_fc."),
    (r"^query_head\.transformer\.pos_trans_norm\.", "pos_trans_norm."),
    (r"^query_head\.transformer\.head_pos_embed\.", "auxiliary_query_embedding.head_embed."),
    (r"^query_head\.transformer\.aux_pos_trans\.", "auxiliary_query_embedding.pos_trans."),
    (r"^query_head\.transformer\.aux_pos_trans_norm\.", "auxiliary_query_embedding.pos_norms."),
    (r"^query_head\.transformer\.pos_feats_trans\.", "auxiliary_query_embedding.feat_trans."),
    (r"^query_head\.transformer\.pos_feats_norm\.", "auxiliary_query_embedding.feat_norms."),
    (r"^query_head\.transformer\.query_embed\.", "query_embedding."),
    (r"^query_head\.label_embedding\.", "dn_query_generator.label_embedding."),
    (r"^query_head\.downsample\.", "memory_maps.downsample."),
    (r"^query_head\.query_embedding\.", "query_embedding."),
    (r"^query_head\.(cls|reg)_branches\.", r"bbox_head.\1_branches."),
    (r"^roi_head\.0\.", "roi_head."),
    (r"^bbox_head\.0\.", "atss_head."),
)
_CENTERNESS = r"^atss_head\.atss_centerness\."  # the baselines' ATSS head has the branch, the ranking one has not


def rename(name: str) -> str:
    """The name of a released parameter or buffer in `brs_detr.detectors.CoDETR` or `CoDINO`; others stay."""
    for pattern, replacement in _RELEASED_NAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name


def _renamed(name: str, tensor: Tensor) -> Entry:
    return rename(name), tensor


def _is_released(names: Collection[str]) -> bool:
    return any(name.startswith("query_head.transformer.") for name in names)


CO_DINO = Format(
    "Co-DINO, as released",
    lambda names: _is_released(names) and "query_head.label_embedding.weight" in names,
    _renamed,
    unused=_CENTERNESS,
)
BRS_DETR = Format(
    "BRS-DETR, as released",
    lambda names: _is_released(names) and not any("atss_centerness" in name for name in names),
    _renamed,
    fresh=_CENTERNESS,
)
CO_DETR = Format("Co-Deformable-DETR, as released", _is_released, _renamed, unused=_CENTERNESS)

# Detectors whose names are this project's own: its checkpoints, and those of mmdet (2.x and 3.x).

OWN = Format(
    "BRS-DETR or Co-DETR of this project",
    lambda names: any(name.startswith("auxiliary_query_embedding.") for name in names),
    unused=_CENTERNESS,
    fresh=_CENTERNESS,
)
MMDET = Format(
    "a detector of mmdet or this project",
    lambda names: True,
    unused=r"^ema_|^decoder\.aux_reg_branches\.",  # DDQ's decoder borrows those of the head while it trains
)

# Swin Transformer in three layouts; the common one is Microsoft's. Microsoft merges patches at the end of a
# stage, timm at the beginning of the next one. mmdet has other names, and its merging, an unfold, orders the
# 4 C inputs by channel where Microsoft's orders them by patch.

_CLASSIFIER = r"^(head|norm)\."
_OUTPUT_NORMS = r"^norm\d\."  # of detectors
_FROM_MMDET = (
    (r"^stages\.", "layers."),
    (r"\.attn\.w_msa\.", ".attn."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
)
_PATCHES = [0, 2, 1, 3]  # Microsoft's order of the four patches, row by row


def _from_mmdet(name: str, tensor: Tensor) -> Entry:
    for pattern, replacement in _FROM_MMDET:
        name = re.sub(pattern, replacement, name)
    if ".downsample." in name:
        by_channel = tensor.unflatten(-1, (-1, 4))
        tensor = by_channel.transpose(-1, -2)[..., _PATCHES, :].flatten(-2)
    return name, tensor


def _to_mmdet(name: str, tensor: Tensor) -> Entry:
    """mmdet's own converter, which drops the classifier."""
    converted = swin_converter({name: tensor})
    return next(((new.removeprefix("backbone."), value) for new, value in converted.items()), (name, tensor))


def _shift_merging(name: str, stages: int) -> str:
    return re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + stages}.downsample", name)


MMDET_SWIN = Format(
    "Swin of mmdet",
    lambda names: any(".attn.w_msa." in name for name in names),
    _from_mmdet,
    _to_mmdet,
    unused=_CLASSIFIER,
    fresh=_OUTPUT_NORMS,
)
MICROSOFT_SWIN = Format(
    "Swin of Microsoft",
    lambda names: "layers.0.downsample.reduction.weight" in names,
    unused=_CLASSIFIER,
    fresh=_OUTPUT_NORMS,
)
TIMM_SWIN = Format(
    "Swin of timm",
    lambda names: "layers.1.downsample.reduction.weight" in names,
    lambda name, tensor: (_shift_merging(name, -1), tensor),
    lambda name, tensor: (_shift_merging(name, 1), tensor),
    unused=_CLASSIFIER,
    fresh=_OUTPUT_NORMS,
)

# Backbones under their authors' names. Of ResNet torchvision, timm and mmdet have the same; only the classifier
# is not for detectors. In a `brs_detr.backbones.TimmBackbone`, which takes timm's models apart for their feature
# maps, tensors have other names: its `timm_names` says which.

RESNET = Format(
    "ResNet of torchvision, timm or mmdet",
    lambda names: {"conv1.weight", "layer1.0.conv1.weight"} <= set(names),
    unused=r"^fc\.",
)
OTHER = Format(
    "a backbone of timm",
    lambda names: True,
    unused=r"^(head|fc|classifier|head_dist)\.|^mask_token$",  # DINO's, for the patches that it hides in pretraining
)

# EfficientNet-B0 and -Lite0 of the packages efficientnet-pytorch and efficientnet-lite-pytorch. Their blocks are
# counted through all stages, and parts named by what they do; timm counts in each stage, and the first block, which
# does not expand, has one part less.

_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks of each
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"} | _SQUEEZE
_EXPANDING = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
    **_SQUEEZE,
}
_PLACES = [(stage, block) for stage, blocks in enumerate(_STAGES) for block in range(blocks)]
_EFFICIENTNET_PARTS = {
    **{"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"},
    **{
        f"_blocks.{number}.{theirs}": f"blocks.{stage}.{block}.{timms}"
        for number, (stage, block) in enumerate(_PLACES)
        for theirs, timms in (_EXPANDING if number else _FIRST).items()
    },
}


def _from_counted_blocks(name: str, tensor: Tensor) -> Entry:
    part, dot, kind = name.rpartition(".")
    return _EFFICIENTNET_PARTS.get(part, part) + dot + kind, tensor


EFFICIENTNET = Format(
    "EfficientNet-B0 or -Lite0 of efficientnet-pytorch",
    lambda names: "_blocks.15._bn2.weight" in names and "_blocks.16._bn2.weight" not in names,
    _from_counted_blocks,
    unused=OTHER.unused,
)

# In the order in which they are tried; the last one takes everything.
DETECTORS = (CO_DINO, BRS_DETR, CO_DETR, OWN, MMDET)
BACKBONES = (MMDET_SWIN, MICROSOFT_SWIN, TIMM_SWIN, RESNET, EFFICIENTNET, OTHER)
