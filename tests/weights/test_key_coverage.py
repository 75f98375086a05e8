"""Every tensor of the released full-size models has a place, and every one of ours is supplied."""

import re

import pytest

from brs_detr.weights import map_state_dict
from brs_detr.weights.mapping import Translation
from tests.reference import needs_reference
from tests.weights.files import keys, skeleton

pytestmark = needs_reference

CONFIGS = {
    "co_deformable_detr_r50": "co_detr/co-deformable-detr_r50_1x_coco",
    "co_deformable_detr_swin_tiny": "co_detr/co-deformable-detr_swin-t_1x_coco",
    "co_deformable_detr_swin_large": "co_detr/co-deformable-detr_swin-l_1x_coco",
    "brs_detr_r50": "brs_detr/brs-detr_r50_1x_coco",
    "brs_detr_swin_tiny": "brs_detr/brs-detr_swin-t_1x_coco",
    "co_dino_5scale_r50": "co_dino/co-dino_5scale_r50_1x_coco",
}
BRS_DINO = "brs_dino/brs-dino_5scale_r50_1x_coco"
TITLES = {"brs_detr": "BRS-DETR", "co_deformable_detr": "Co-Deformable-DETR", "co_dino": "Co-DINO"}
# Co-DINO's own parts: five levels, a sixth for the auxiliary heads, DINO's decoder, denoising queries.
CO_DINO_ALONE = r"""^(
    neck\.convs\.3\..* | decoder\.ref_point_head\..* | decoder\.norm\..* |
    dn_query_generator\.label_embedding\.weight | atss_head\.scales\.5\.scale
)$"""
# Of another size there: the neck starts one level earlier, the attention has five levels, queries are 900.
CO_DINO_OTHER_SHAPE = r"""^(
    neck\.convs\.[012]\.conv\.weight | level_embed | query_embedding\.weight |
    (en|de)coder\.layers\.\d\.(self|cross)_attn\.(sampling_offsets|attention_weights)\.(weight|bias) |
    auxiliary_query_embedding\.pos_(trans|norms)\.[01]\.(weight|bias)
)$"""
# Co-Deformable-DETR's alone: the positions of its queries are learned transforms of the proposals.
CO_DEFORMABLE_ALONE = r"""^(
    pos_trans_(fc|norm)\.(weight|bias) | auxiliary_query_embedding\.head_embed\.weight |
    auxiliary_query_embedding\.feat_(trans|norms)\.[01]\.(weight|bias)
)$"""


@pytest.mark.parametrize("name", CONFIGS)
def test_every_key_lands_and_every_parameter_is_supplied(name):
    source, model = keys(name), skeleton(CONFIGS[name])
    mapped, report = map_state_dict(source, model)
    assert len(report.loaded) == len(source) == len(model.state_dict())
    assert mapped.keys() == model.state_dict().keys()
    assert all(mapped[key].shape == value.shape for key, value in model.state_dict().items())
    assert report.complete
    assert not (report.reshaped)
    assert not (report.fresh)
    assert not (report.unused)
    assert not (report.lack)
    assert next(title for family, title in TITLES.items() if name.startswith(family)) in report.source
    assert ("Swin of Microsoft" if "swin" in name else "ResNet") in report.source


def test_number_of_co_dino_parameters():
    """The ranking model has no centerness branch and 80 instead of 81 RoI classes."""
    baseline, ranking = (skeleton(name).parameters() for name in (CONFIGS["co_dino_5scale_r50"], BRS_DINO))
    assert sum(p.numel() for p in baseline) == 65_204_005
    assert sum(p.numel() for p in ranking) == 65_204_005 - 3_330


def test_co_dino_weights_start_its_ranking_model():
    _, report = map_state_dict(keys("co_dino_5scale_r50"), skeleton(BRS_DINO))
    assert report.complete
    assert report.reshaped == ["roi_head.bbox_head.fc_cls.weight", "roi_head.bbox_head.fc_cls.bias"]
    assert report.unused == ["bbox_head.0.atss_centerness.weight", "bbox_head.0.atss_centerness.bias"]


def test_co_dino_is_another_architecture_than_co_deformable_detr():
    source, model = keys("co_dino_5scale_r50"), skeleton(CONFIGS["co_deformable_detr_r50"])
    mapped, report = map_state_dict(source, model)
    assert "Co-DINO" in report.source
    renamed = map_to_our_names(source, model)
    assert {renamed[name] for name in report.unexpected} == matching(CO_DINO_ALONE, renamed.values())
    assert set(report.mismatched) == matching(CO_DINO_OTHER_SHAPE, model.state_dict())
    assert set(report.missing) == matching(CO_DEFORMABLE_ALONE, model.state_dict())
    assert len(mapped) + len(report.mismatched) + len(report.unexpected) == len(source)
    assert not (report.unused)
    assert not (report.reshaped)
    assert not (report.complete)


def map_to_our_names(source, model):
    translation = Translation(source.keys(), model)
    return {name: translation.entry(name, tensor)[0] for name, tensor in source.items()}


def matching(pattern, names):
    found = {name for name in names if re.match(pattern, name, re.VERBOSE)}
    assert found
    return found


def test_baseline_weights_start_a_ranking_model():
    """Co-DETR has a centerness branch and a background class, BRS-DETR neither."""
    _, report = map_state_dict(keys("co_deformable_detr_r50"), skeleton(CONFIGS["brs_detr_r50"]))
    assert report.complete
    assert report.reshaped == ["roi_head.bbox_head.fc_cls.weight", "roi_head.bbox_head.fc_cls.bias"]
    assert report.unused == ["bbox_head.0.atss_centerness.weight", "bbox_head.0.atss_centerness.bias"]


def test_ranking_weights_start_a_baseline_model():
    _, report = map_state_dict(keys("brs_detr_r50"), skeleton(CONFIGS["co_deformable_detr_r50"]))
    assert report.complete
    assert report.fresh == ["atss_head.atss_centerness.weight", "atss_head.atss_centerness.bias"]


@pytest.mark.parametrize("name", ["co_deformable_detr_swin_tiny", "brs_detr_swin_tiny"])
def test_another_backbone_is_another_architecture(name):
    _, report = map_state_dict(keys(name), skeleton(CONFIGS["co_deformable_detr_r50"]))
    assert not report.complete
    assert "backbone.patch_embed.proj.weight" in report.unexpected
    assert "backbone.conv1.weight" in report.missing
    assert "neck.convs.0.conv.weight" in report.mismatched
