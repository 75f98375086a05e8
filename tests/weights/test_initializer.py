"""`init_cfg`: from files, from torch's cache and from the network, for every kind of backbone."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule, Sequential
from mmengine.runner import checkpoint as mmengine_checkpoint

from brs_detr.backbones import TimmBackbone
from brs_detr.weights import CheckpointError, locating, read_checkpoint, skip_pretrained
from brs_detr.weights.formats import MMDET_SWIN
from tests.weights.files import SMALL_SWIN, build, tiny_resnet
from tests.weights.test_reading import Calls, attacks


def pretrained(path, **options):
    return dict(type="PretrainedWeights", checkpoint=str(path), **options)


def equal(module, weights):
    return all(torch.equal(value, weights[name]) for name, value in module.state_dict().items() if name in weights)


@pytest.fixture
def resnet(tmp_path):
    weights = {**tiny_resnet().state_dict(), "fc.weight": torch.ones(10, 32), "fc.bias": torch.ones(10)}
    torch.save(weights, tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth", weights


@pytest.mark.parametrize("kind", ["PretrainedWeights", "Pretrained"])
def test_resnet(resnet, kind):
    path, weights = resnet
    model = tiny_resnet(init_cfg={"type": kind, "checkpoint": str(path)})
    assert not equal(model, weights)
    model.init_weights()
    assert equal(model, weights)


def test_within_a_larger_model_nothing_is_initialised_again(resnet):
    path, weights = resnet
    model = Sequential(tiny_resnet(init_cfg=pretrained(path)), tiny_resnet())
    model.init_weights()
    assert equal(model[0], weights)


class WithOwnInitialisation(BaseModule):
    """Its child would overwrite what is loaded before it is initialised."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.child = Zeroed()


class Zeroed(BaseModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def init_weights(self):
        torch.nn.init.zeros_(self.layer.weight)
        super().init_weights()


def test_children_are_initialised_before(tmp_path):
    weights = WithOwnInitialisation().state_dict()
    torch.save(weights, tmp_path / "weights.pth")
    model = WithOwnInitialisation(pretrained(tmp_path / "weights.pth"))
    model.init_weights()
    assert equal(model, weights)


@pytest.mark.parametrize("kind", ["PretrainedWeights", "Pretrained"])
def test_swin_from_microsofts_layout(tmp_path, kind):
    torch.manual_seed(0)
    expected = build(SMALL_SWIN).state_dict()
    microsoft = dict(MMDET_SWIN.to_common(name, value) for name, value in expected.items())
    microsoft = {name: value for name, value in microsoft.items() if not name.startswith("norm")}
    classifier = {"head.weight": torch.ones(10, 192), "norm.weight": torch.ones(192)}
    torch.save({"model": {**microsoft, **classifier}}, tmp_path / "swin.pth")
    init_cfg = ConfigDict(type=kind, checkpoint=str(tmp_path / "swin.pth"))
    layout = {} if kind == "PretrainedWeights" else {"type": "SwinTransformer", "convert_weights": True}
    model = build({**SMALL_SWIN, **layout, "init_cfg": init_cfg})
    model.init_weights()
    assert equal(model, expected)


def test_a_file_that_does_not_fit_is_an_error(tmp_path, resnet):
    path, weights = resnet
    torch.save({name: value for name, value in weights.items() if "layer4" not in name}, path)
    with pytest.raises(CheckpointError, match="missing"):
        tiny_resnet(init_cfg=pretrained(path)).init_weights()
    model = tiny_resnet(init_cfg=pretrained(path, strict=False))
    model.init_weights()
    assert torch.equal(model.conv1.weight, weights["conv1.weight"])


@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # in mmdet's Swin
def test_nothing_is_read_where_a_checkpoint_follows():
    other = {"type": "Constant", "layer": "Conv2d", "val": 3.0}
    model = Sequential(
        tiny_resnet(init_cfg=[other, pretrained("absent.pth")]),
        build({**SMALL_SWIN, "init_cfg": pretrained("absent.pth")}),
        TimmBackbone("resnet18", pretrained=True, options={"pretrained_cfg_overlay": {"file": "absent.pth"}}),
    )
    with pytest.raises(CheckpointError, match="does not exist"):
        model.init_weights()
    skip_pretrained(model)
    for module in model:
        module.init_weights()
    assert (model[0].conv1.weight == 3).all()


@pytest.mark.parametrize("kind", ["PretrainedWeights", "Pretrained"])
def test_downloads_once(server, cache, resnet, kind):
    path, weights = resnet
    path.rename(server.folder / path.name)
    for _ in range(2):
        model = tiny_resnet(init_cfg={"type": kind, "checkpoint": f"{server.url}/{path.name}"})
        model.init_weights()
        assert equal(model, weights)
    assert len(server.requests) == 1
    assert [file.name[16:] for file in cache.iterdir()] == [f"-{path.name}"]


@pytest.mark.parametrize("kind", ["PretrainedWeights", "Pretrained"])
def test_torchvisions_names(server, cache, resnet, kind, monkeypatch):
    path, weights = resnet
    path.rename(server.folder / path.name)
    monkeypatch.setitem(locating.CATALOGUES, "torchvision://", lambda: {"resnet18": f"{server.url}/{path.name}"})
    model = tiny_resnet(init_cfg={"type": kind, "checkpoint": "torchvision://resnet18"})
    model.init_weights()
    assert equal(model, weights)


def test_torchvisions_catalogue_knows_the_backbones_of_the_configs():
    known = mmengine_checkpoint.get_torchvision_models()
    assert known["resnet50"].startswith("https://")
    with pytest.raises(CheckpointError, match="knows no resnet51"):
        read_checkpoint("torchvision://resnet51")


def test_a_download_cannot_run_code_either(server, cache, tmp_path):
    mark = tmp_path / "mark"
    torch.save({"state_dict": attacks(mark)["exec"]}, server.folder / "evil.pth")
    for kind in ("PretrainedWeights", "Pretrained"):
        model = tiny_resnet(init_cfg={"type": kind, "checkpoint": f"{server.url}/evil.pth"})
        with pytest.raises(CheckpointError, match="is refused"):
            model.init_weights()
    assert not mark.exists()
    assert isinstance(attacks(mark)["exec"], Calls)
