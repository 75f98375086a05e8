"""A pretrained backbone of timm whose images are normalised otherwise is remarked on, with options that mend it."""

import re

import pytest
from mmengine.config import DictAction

from brs_detr.engine.setup import normalisation
from brs_detr.engine.setup.config import load_config
from tests.reference import ROOT

FOLDER = ROOT / "configs" / "brs_detr"
IN_A_TRANSFORM = {"train_dataloader.dataset.pipeline": [{"type": "mmdet.Normalize"}]}
EFFICIENTNET = str(FOLDER / "brs-detr_efficientnet-lite0_tiny.py")


@pytest.mark.parametrize("name", ["efficientnet-lite0_tiny", "dinov2-s_1x_coco", "dinov3-s_1x_coco", "r50_1x_coco"])
def test_our_configs_need_no_remark(name: str) -> None:
    assert normalisation.remarks(load_config(str(FOLDER / f"brs-detr_{name}.py"), None, None)) == []


def test_the_usual_normalisation_is_remarked_on_and_the_remedy_mends_it() -> None:
    usual = {
        "model.data_preprocessor.mean": [123.675, 116.28, 103.53],
        "model.data_preprocessor.std": [58.395, 57.12, 57.375],
    }
    (remark,) = normalisation.remarks(load_config(EFFICIENTNET, usual, None))
    assert "tf_efficientnet_lite0 by mean [127.5, 127.5, 127.5]" in remark
    options = dict(re.findall(r"(model\.\S+)=(\S+?)[. ]*(?= |$)", remark))
    remedy = {name: DictAction._parse_iterable(value) for name, value in options.items()}
    assert remedy.keys() == usual.keys()
    assert normalisation.remarks(load_config(EFFICIENTNET, remedy, None)) == []


def test_images_that_nothing_normalises_are_remarked_on() -> None:
    none = {"model.data_preprocessor.mean": None, "model.data_preprocessor.std": None}
    assert normalisation.remarks(load_config(EFFICIENTNET, none | {"model.backbone.type": "mmdet.TimmBackbone"}, None))


@pytest.mark.parametrize(
    "options",
    [
        {"model.backbone.init_cfg": None},  # from scratch
        {"model.backbone.init_cfg": {"_delete_": True, "type": "Kaiming", "layer": "Conv2d"}},  # as well
        {"model.backbone.model_name": "of_nobody"},
        {"model.backbone.model_name": "resnet18.no_such_tag"},
        {"model.backbone.model_name": None},
        {"model.data_preprocessor.mean": 123.0},  # what builds them says what is wrong with these
        {"model.data_preprocessor.mean": "123,116,103"},
        {"model.data_preprocessor.std": ["1", "1", "1"]},
        {"model.data_preprocessor.mean": None, "model.data_preprocessor.std": None, **IN_A_TRANSFORM},
    ],
)
def test_nothing_is_said_where_nothing_is_known(options: dict) -> None:
    usual = {"model.data_preprocessor.mean": [0.0] * 3, "model.data_preprocessor.std": [1.0] * 3}
    assert normalisation.remarks(load_config(EFFICIENTNET, usual, None))
    assert normalisation.remarks(load_config(EFFICIENTNET, usual | options, None)) == []
