"""A checkpoint with other classes fits every stock head that ranks: only the layers that count classes stay fresh."""

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from torch import nn

from brs_detr.data.checks import declared_class_counts
from brs_detr.weights import map_state_dict
from brs_detr.weights.mapping import Skeleton
from tests.heads.test_stock_heads import FASTER_RCNN, LABELS_ONLY, WITH_IOUS, shrink

pytestmark = pytest.mark.filterwarnings("ignore:.*(dropout|add_residual).* deprecated:DeprecationWarning")


def model_of(base: str, classes: int) -> nn.Module:
    """Without memory for its parameters."""
    model = get_config(f"mmdet::{base}.py").model
    shrink(model)
    config = Config(dict(model=model))
    config.merge_from_dict({place: classes for place, _ in declared_class_counts(model)})
    with Skeleton():
        return MODELS.build(config.model)


@pytest.mark.parametrize("base", [*WITH_IOUS, *LABELS_ONLY, FASTER_RCNN])
def test_only_layers_that_count_classes_keep_their_own_values(base: str) -> None:
    model, other = model_of(base, 3), model_of(base, 7).state_dict()
    counting = {name for name, value in model.state_dict().items() if value.shape != other[name].shape}
    report = map_state_dict(other, model)[1]
    assert counting
    assert set(report.reshaped) == counting
    assert report.mismatched == []
