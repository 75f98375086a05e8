"""scripts/convert_checkpoint.py: real processes, real files."""

import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file

from brs_detr.engine import converting
from brs_detr.errors import InputError
from brs_detr.weights import CheckpointError, load_checkpoint, map_state_dict, read_checkpoint
from tests.reference import ROOT, load_reader, needs_reference, tiny_config
from tests.weights.files import build, keys, timm_weights

pytestmark = needs_reference


def run(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "convert_checkpoint.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def released(tmp_path):
    path = tmp_path / "released.pth"
    meta = {"CLASSES": ("a", "b"), "PALETTE": None, "mmdet_version": "2.25.3"}
    torch.save({"state_dict": dict(load_reader().tiny_state()), "meta": meta}, path)
    return path


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.py"
    Config({"model": tiny_config("co_deformable_detr_r50").model}).dump(str(path))
    return path


def test_the_program(tmp_path, released, config):
    done = run(released, tmp_path / "ours.pth", "--config", config)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("Co-Deformable-DETR, as released")
    assert "unexpected     0" in done.stdout
    assert load_checkpoint(build(Config.fromfile(config).model), tmp_path / "ours.pth").complete


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_writes_the_mapped_file(tmp_path, released, config, suffix):
    before, destination = released.read_bytes(), tmp_path / f"ours.{suffix}"
    converting.convert(released, destination, config)
    assert released.read_bytes() == before
    model = build(Config.fromfile(config).model)
    report = load_checkpoint(model, destination)
    assert report.complete
    assert not report.renamed
    expected, _ = map_state_dict(load_reader().tiny_state(), model)
    written = load_file(destination) if suffix == "safetensors" else torch.load(destination)["state_dict"]
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)
    if suffix == "pth":
        assert torch.load(destination)["meta"]["dataset_meta"]["classes"] == ("a", "b")
    assert {file.name for file in tmp_path.iterdir()} == {"released.pth", "config.py", destination.name}


def test_failures_are_one_sentence_and_leave_no_file(tmp_path, released, config):
    broken = tmp_path / "broken.pth"
    broken.write_bytes(released.read_bytes()[:1000])
    done = run(broken, tmp_path / "ours.pth", "--config", config)
    assert done.returncode == 2
    assert done.stderr == f"error: The checkpoint {broken} is truncated: copy or download it again.\n"
    for source, destination, settings, reason in (
        (tmp_path / "none.pth", "ours.pth", None, "does not exist"),
        (released, "released.pth", config, "is the source itself"),
        (released, "ours.bin", config, "must end in .pth or .safetensors"),
        (released, "ours.pth", tmp_path / "none.py", "does not exist"),
    ):
        with pytest.raises(InputError, match=reason):
            converting.convert(source, tmp_path / destination, settings)
    assert {file.name for file in tmp_path.iterdir()} == {"released.pth", "broken.pth", "config.py"}


def test_class_layers_are_written_as_they_are(tmp_path, released, config):
    eleven = tmp_path / "eleven.py"
    changed = Config.fromfile(config)
    changed.model.roi_head.bbox_head.num_classes = 11
    changed.dump(str(eleven))
    _, report = converting.convert(released, tmp_path / "ours.pth", eleven)
    assert "roi_head.bbox_head.fc_cls.weight" in report.reshaped
    assert load_checkpoint(build(Config.fromfile(config).model), tmp_path / "ours.pth").complete


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("co_deformable_detr_r50", "co-deformable-detr_r50_1x_coco.py"),
        ("brs_detr_swin_tiny", "brs-detr_swin-t_1x_coco.py"),
    ],
)
def test_the_config_is_found(name, config):
    assert converting.choose_config(keys(name)).name == config


def test_no_config_fits(tmp_path, config):
    (tmp_path / "configs").mkdir()
    config.rename(tmp_path / "configs" / config.name)
    assert converting.choose_config(load_reader().tiny_state(), tmp_path).name == config.name
    with pytest.raises(CheckpointError, match="fits none"):
        converting.choose_config(timm_weights("convnextv2_atto"), tmp_path)


def changed(released, path, name, value):
    content = torch.load(released)
    content["state_dict"][name].flatten()[0] = value
    torch.save(content, path)
    return path


def test_numbers_that_are_not_finite_are_not_converted(tmp_path, released, config):
    layer = "query_head.transformer.enc_output.weight"
    for value, half, reason in (
        (float("nan"), False, "NaN or infinite numbers in memory_trans_fc.weight"),
        (1e6, True, "memory_trans_fc.weight that exceed half precision"),
    ):
        source = changed(released, tmp_path / "changed.pth", layer, value)
        with pytest.raises(InputError, match=reason):
            converting.convert(source, tmp_path / "ours.pth", config, half)
    assert not (tmp_path / "ours.pth").exists()


def test_what_a_file_says_of_itself_is_kept_where_it_makes_sense(tmp_path, released, config):
    content = torch.load(released)
    content["meta"]["CLASSES"] = (["a"] * 9, "b")
    torch.save(content, tmp_path / "odd.pth")
    converting.convert(tmp_path / "odd.pth", tmp_path / "ours.pth", config)
    assert read_checkpoint(tmp_path / "ours.pth")["meta"]["dataset_meta"] == {"classes": None, "palette": None}


def test_converted_files_are_read_like_any_other(tmp_path, released, config):
    converting.convert(released, tmp_path / "ours.pth", config)
    assert read_checkpoint(tmp_path / "ours.pth").keys() == {"state_dict", "meta"}
