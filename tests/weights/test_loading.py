"""Putting weights into models: whole or not at all, class layers apart."""

import copy

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from safetensors.torch import save_file
from torch.nn.parallel import DataParallel
from torch.utils.data import DataLoader

from brs_detr.weights import CheckpointError, LoadReport, load_checkpoint, map_state_dict, read_checkpoint
from tests.reference import load_reader, needs_reference, tiny_config
from tests.weights.files import build, tiny_resnet


def tiny_detector(name="co_deformable_detr_r50", classes=7):
    model = tiny_config(name).model
    model.bbox_head.num_classes = model.roi_head.bbox_head.num_classes = model.atss_head.num_classes = classes
    torch.manual_seed(0)
    return build(model)


def values(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second, names):
    """Bit by bit: what no initialisation has filled may be NaN."""
    return all(first[name].numpy().tobytes() == second[name].numpy().tobytes() for name in names)


@needs_reference
@pytest.mark.parametrize("kind", ["bare", "wrapped", "safetensors"])
def test_a_released_file_fills_its_model(tmp_path, kind):
    released = dict(load_reader().tiny_state())
    path = tmp_path / "released.pth"
    if kind == "safetensors":
        save_file({name: value.clone() for name, value in released.items()}, path)
    else:
        torch.save(released if kind == "bare" else {"state_dict": released, "meta": {"epoch": 12}}, path)
    before = path.read_bytes()
    model = tiny_detector()
    report = load_checkpoint(model, path)
    assert len(report.loaded) == len(released)
    assert not (report.missing)
    assert not (report.unexpected)
    assert not (report.reshaped)
    assert torch.equal(model.level_embed, released["query_head.transformer.level_embeds"])
    assert path.read_bytes() == before


@needs_reference
def test_another_number_of_classes_keeps_the_class_layers_own_values(tmp_path):
    torch.save(load_reader().tiny_state(), tmp_path / "released.pth")
    model = tiny_detector(classes=3)
    fresh = values(model)
    report = load_checkpoint(model, tmp_path / "released.pth")
    loaded = values(model)
    assert report.complete
    class_layers = [
        name for name, value in tiny_detector(classes=7).state_dict().items() if value.shape != fresh[name].shape
    ]
    assert sorted(report.reshaped) == sorted(class_layers)
    assert {"bbox_head.cls_branches.0.bias", "roi_head.bbox_head.fc_cls.weight"} <= set(class_layers)
    assert same(loaded, fresh, report.reshaped)
    assert set(report.loaded) == fresh.keys() - set(report.reshaped)
    assert "reshaped" in str(report)
    assert report.reshaped[0] in str(report)


@needs_reference
def test_class_layers_of_another_width_are_another_architecture():
    config = tiny_config("co_deformable_detr_r50").model
    config.roi_head.bbox_head.fc_out_channels = 96
    config.roi_head.bbox_head.num_classes = 3
    _, report = map_state_dict(load_reader().tiny_state(), build(config))
    assert {"roi_head.bbox_head.fc_cls.weight", "roi_head.bbox_head.fc_reg.weight"} <= set(report.mismatched)
    assert report.reshaped == ["roi_head.bbox_head.fc_cls.bias", "roi_head.bbox_head.fc_reg.bias"]
    assert not report.complete


@needs_reference
def test_a_file_of_another_architecture_changes_nothing(tmp_path):
    released = dict(load_reader().tiny_state())
    path = tmp_path / "released.pth"
    torch.save(released, path)
    config = tiny_config("co_deformable_detr_r50").model
    config.encoder.num_layers = 1
    config.num_queries = 20
    model = build(config)
    before = values(model)
    with pytest.raises(CheckpointError, match="is of another architecture than the model") as caught:
        load_checkpoint(model, path)
    assert "unexpected (query_head.transformer.encoder.layers.1." in str(caught.value)
    assert "1 of another shape (query_embedding.weight)" in str(caught.value)
    assert same(values(model), before, before)
    report = load_checkpoint(model, path, strict=False)
    assert report.mismatched == ["query_embedding.weight"]
    after = values(model)
    assert torch.equal(after["query_embedding.weight"], before["query_embedding.weight"])
    assert torch.equal(after["level_embed"], released["query_head.transformer.level_embeds"])


@needs_reference
def test_a_missing_tensor_is_an_error(tmp_path):
    released = dict(load_reader().tiny_state())
    del released["query_head.transformer.enc_output.weight"], released["backbone.layer1.0.bn1.running_mean"]
    torch.save(released, tmp_path / "released.pth")
    with pytest.raises(CheckpointError, match=r"2 missing \(backbone.layer1.0.bn1.running_mean, memory"):
        load_checkpoint(tiny_detector(), tmp_path / "released.pth")


@pytest.mark.parametrize("content", [{"other.weight": torch.ones(1)}, {"epoch": 3}, {}])
def test_a_file_without_any_of_the_weights_is_an_error_even_if_not_strict(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth"):
        load_checkpoint(tiny_resnet(), tmp_path / "other.pth", strict=False)


@needs_reference
def test_evaluation_needs_the_whole_model_and_its_classes(tmp_path):
    detector, backbone = tmp_path / "released.pth", tmp_path / "backbone.pth"
    released = dict(load_reader().tiny_state())
    torch.save(released, detector)
    start, prefix = "backbone.", len("backbone.")
    torch.save({name[prefix:]: value for name, value in released.items() if name.startswith(start)}, backbone)
    assert load_checkpoint(tiny_detector(), detector, whole=True).complete
    assert load_checkpoint(tiny_detector(), backbone).complete
    for model, path, reason in (
        (tiny_detector(), backbone, "holds only a part of the model: not level_embed"),
        (tiny_detector(classes=3), detector, r"another number of classes .*\(bbox_head.cls_branches.0.weight differs"),
    ):
        before = values(model)
        with pytest.raises(CheckpointError, match=reason):
            load_checkpoint(model, path, whole=True)
        assert same(values(model), before, before)


def test_counters_of_old_files_and_of_ours_do_not_matter():
    """torchvision's early ResNets have no num_batches_tracked."""
    model = tiny_resnet()
    early = {name: value for name, value in model.state_dict().items() if "num_batches" not in name}
    _, report = map_state_dict(early, model)
    assert report.complete
    assert len(report.fresh) == len(model.state_dict()) - len(early)


def test_a_wrapped_model(tmp_path):
    source = tiny_resnet()
    torch.save(source.state_dict(), tmp_path / "resnet.pth")
    target = DataParallel(tiny_resnet())
    assert load_checkpoint(target, tmp_path / "resnet.pth").complete
    assert same(target.module.state_dict(), source.state_dict(), source.state_dict())


class Trained(BaseModel):
    """The least that mmengine trains."""

    def __init__(self):
        super().__init__()
        self.backbone = tiny_resnet()

    def forward(self, inputs):
        return self.backbone(inputs)[-1]

    def train_step(self, data, optim_wrapper):
        loss = self(data).square().mean()
        optim_wrapper.update_params(loss)
        return {"loss": loss}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A real checkpoint of mmengine: optimiser, scheduler, message hub."""
    folder = tmp_path_factory.mktemp("run")
    runner = Runner(
        Trained(),
        work_dir=str(folder),
        train_dataloader=DataLoader(torch.randn(4, 3, 32, 32), batch_size=2),
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.1}},
        param_scheduler={"type": "MultiStepLR", "milestones": [1]},
        default_hooks={"logger": {"type": "LoggerHook", "interval": 1}},
        experiment_name="weights",
        log_level="ERROR",
    )
    runner.train()
    return folder / "epoch_1.pth", runner.model


def test_a_checkpoint_that_mmengine_saved(trained):
    path, model = trained
    content = read_checkpoint(path)
    assert {"state_dict", "optimizer", "param_schedulers", "message_hub", "meta"} <= content.keys()
    assert "train/loss" in content["message_hub"]["log_scalars"]
    assert content["optimizer"]["state"]
    fresh = copy.deepcopy(model)
    torch.nn.init.zeros_(fresh.backbone.conv1.weight)
    report = load_checkpoint(fresh, path)
    assert len(report.loaded) == len(model.state_dict())
    assert same(fresh.state_dict(), model.state_dict(), model.state_dict())


def test_the_report_is_a_short_table():
    report = LoadReport("somebody's", loaded=["a", "b"], renamed=["b"], unexpected=[f"x{i}" for i in range(9)])
    assert str(report).splitlines() == [
        "somebody's",
        "loaded         2",
        "renamed        1",
        "missing        0",
        "unexpected     9  x0, x1, x2 and 6 more",
        "reshaped       0",
    ]
    assert not report.complete
    assert report.lack == "9 unexpected (x0, x1, x2 and 6 more)"
