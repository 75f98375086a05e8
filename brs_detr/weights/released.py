"""Names of the released Co-DETR and BRS-DETR weights (mmdet 2.x modules) in this project's modules."""

import re
from collections.abc import Collection

from torch import Tensor

from .formats import Entry, Format

_LAYER = r"^query_head\.transformer\.(encoder|decoder)\.layers\.(\d+)\."
_RENAMES = (
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
    for pattern, replacement in _RENAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name


def rename_state_dict(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A released state_dict under this project's names."""
    return {rename(name): tensor for name, tensor in state_dict.items()}


def _entry(name: str, tensor: Tensor) -> Entry:
    return rename(name), tensor


def _is_released(names: Collection[str]) -> bool:
    return any(name.startswith("query_head.transformer.") for name in names)


CO_DINO = Format(
    "Co-DINO, as released",
    lambda names: _is_released(names) and "query_head.label_embedding.weight" in names,
    _entry,
    unused=_CENTERNESS,
)
BRS_DETR = Format(
    "BRS-DETR, as released",
    lambda names: _is_released(names) and not any("atss_centerness" in name for name in names),
    _entry,
    fresh=_CENTERNESS,
)
CO_DETR = Format("Co-Deformable-DETR, as released", _is_released, _entry, unused=_CENTERNESS)
