"""The table of memory, of a tiny model and a small image."""

import pytest
from mmengine.config import Config

from benchmarks import memory


def test_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Config.fromfile(str(memory.ROOT / "configs" / "brs_detr" / "brs-detr_tiny_digits.py"))
    monkeypatch.setattr(memory, "config_of", {"R50": tiny}.get)
    kept, again = (memory.measure("R50", (64, 96), recompute) for recompute in (False, True))
    assert 0.1 < kept["before"] <= kept["gb"] <= again["gb"] < 100
    table = memory.table({"R50": [kept, again], "Swin-L": [None, again]})
    assert f"| {again['gb']:.1f} |" in table.replace("  ", "")
    assert "out of memory" in table


def test_the_vit_takes_the_place_of_the_resnet() -> None:
    model = memory.config_of("ViT-S").model
    assert model.backbone.model_name.startswith("vit_small")
    assert "depth" not in model.backbone
    assert model.neck.in_channels == [384] * 3
