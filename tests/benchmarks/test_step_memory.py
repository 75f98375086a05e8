"""The bytes of a step by part: those of a step that is computed, and in proportion to the images."""

import pytest
import torch
from mmengine.config import Config

from benchmarks import step_memory
from benchmarks.step_memory import Step
from benchmarks.step_parts import RANKING, Bytes, PartBytes, heads_bytes, network_bytes

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    path = step_memory.__file__.replace("benchmarks/step_memory.py", "configs/brs_detr/brs-detr_tiny_digits.py")
    config = Config.fromfile(path)
    config.model.encoder.num_layers = config.model.decoder.num_layers = 1
    monkeypatch.setattr(step_memory, "config_of", lambda row: config)


def test_a_network_that_is_not_computed() -> None:
    model, images = step_memory.built("R50", again=False), torch.rand(1, 3, *SIZE)
    with PartBytes() as counter:
        maps = model.backbone(images)
    computed = counter.now
    del maps
    one, two = (network_bytes(step_memory.built("R50", again=False), n, SIZE, torch.float32) for n in (1, 2))
    assert one.kept["backbone"] == computed
    assert {"encoder", "encoder, attention", "decoder"} <= one.kept.keys()
    assert sum(one.kept.values()) < one.highest
    for part, count in one.kept.items():
        assert two.kept[part] == pytest.approx(2 * count, rel=0.05), part


def test_heads_are_computed() -> None:
    found = heads_bytes(step_memory.built("R50", again=False), 1, SIZE)
    assert {"RPN", "RoI head", "ATSS head", RANKING} <= found.kept.keys()
    assert 0 < sum(found.kept.values()) < found.highest


def test_what_fits_a_gpu() -> None:
    weights = {"weights": 10**9, "gradients": 10**9, "AdamW": 2 * 10**9}
    step = Step("R50", weights, Bytes({"backbone": 2 * 10**9}, 3 * 10**9), Bytes({"RPN": 10**9}, 2 * 10**9))
    assert step.image == 4 * 10**9  # the heads' most comes on top of what the network keeps
    assert [step.images_on(gigabytes) for gigabytes in (5, 10, 14)] == [0, 1, 1]
    table = step_memory.page(SIZE, [step])
    assert "most at a time | 4,000 |" in table
