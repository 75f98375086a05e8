"""Mistakes in a config end a training with a sentence that names the file, the line or entry, and what was meant."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.runner import Runner
from torch import nn

from brs_detr.engine.setup.config_errors import explained
from tests.scripts.processes import ROOT, write_config

Program = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process

ALONE = {
    "a = dict(\nb = 3\nc = 4)\n": "own.py has a syntax error in line 2: invalid syntax",
    "_base_ = 'nothing.py'\n": "own.py is based on {folder}/nothing.py, which does not exist: correct its _base_.",
    "_base_ = 'mmdet::nothing/x.py'\n": "nothing/x.py, which does not exist: correct its _base_.",
    "_base_ = 'nobody::x.py'\n": "own.py is based on a config of a package that is not known here",
    "a = 1\nb = 1 / 0\n": "own.py fails in line 2: ZeroDivisionError: division by zero.",
    "a = nothing_here\n": "own.py fails in line 1: NameError: name 'nothing_here' is not defined.",
    "import sys\nsys.exit(3)\n": "own.py fails in line 2: SystemExit: 3.",
    "import no_such_module\n": "own.py imports what is not there: ModuleNotFoundError: Failed to import no_such_module",
    "custom_imports = dict(imports=['no_such'], allow_failed_imports=False)\n": "imports what is not there, by custom_",
    "": "own.py has no entry model, which is needed here: add it.",
    "model = 5\n": "own.py does not go together: TypeError: model should be",
}
CHANGES = {
    "model = dict(backbone=dict(dept=18))": "in DINO, backbone ResNet: TypeError: .*'dept'; did you mean depth.",
    "model = dict(neck=dict(in_channels=[1, 2]))": "layers that do not fit each other, in .*ChannelMapper, ConvModule",
    "train_dataloader = dict(dataset=dict(type='CocoDatset'))": "type CocoDatset, .*; did you mean CocoDataset.",
    "train_dataloader = dict(dataset=dict(pipeline=5))": "py does not go together: TypeError: 'int' object",
    "optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adamm', lr=1))": "no optimizer has; did you mean Adam",
    "param_scheduler = 5": "does not go together: TypeError: `param_scheduler` should be",
}


@pytest.mark.parametrize(("content", "sentence"), ALONE.items())
def test_a_config_that_cannot_be_read(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(content)
    status, _, errors = program("train", tmp_path / "own.py", "--work-dir", "work")
    assert status == 2
    assert errors.startswith("error: The config ")
    assert errors.count("\n") == 1
    assert sentence.format(folder=tmp_path) in errors


@pytest.mark.parametrize(("change", "sentence"), CHANGES.items())
def test_an_entry_that_cannot_be_used(
    program: Program, tmp_path: Path, digits: Path, change: str, sentence: str
) -> None:
    write_config(tmp_path, digits)
    config = tmp_path / f"{tmp_path.name}.py"  # of another name in each test: mmengine names runs by file and second
    config.write_text(f"_base_ = 'tiny.py'\n{change}\n")
    status, _, errors = program("train", config, "--work-dir", tmp_path / "work", "--epochs", 1)
    assert status == 2
    *_, last = errors.splitlines()
    assert last.startswith("error: The config ")
    assert re.search(sentence, last), last


LOAD, OBJECTS, PACK = (
    "dict(type='LoadImageFromFile')",
    "dict(type='LoadAnnotations', with_bbox=True)",
    "dict(type='PackDetInputs', meta_keys=())",
)
PIPELINES = {
    f"train_dataloader = dict(dataset=dict(pipeline=[{OBJECTS}, {PACK}]))": "training data loads no image: let",
    f"train_dataloader = dict(dataset=dict(pipeline=[{LOAD}, {OBJECTS}]))": "training data gives .* no data_samples:",
    f"train_dataloader = dict(dataset=dict(pipeline=[{LOAD}, {PACK}]))": "training data loads no objects: put",
    f"val_dataloader = dict(dataset=dict(pipeline=[{OBJECTS}, {PACK}]))": "evaluation data loads no image: let",
}


@pytest.mark.parametrize(("change", "sentence"), PIPELINES.items())
def test_a_pipeline_that_lacks_a_step(
    program: Program, tmp_path: Path, digits: Path, change: str, sentence: str
) -> None:
    """Before anything is trained."""
    write_config(tmp_path, digits)
    config = tmp_path / f"{tmp_path.name}.py"
    config.write_text(f"_base_ = 'tiny.py'\n{change}\n")
    status, output, errors = program("train", config, "--work-dir", tmp_path / "work", "--epochs", 1)
    assert status == 2
    assert "Epoch(train)" not in output
    assert re.search(f"^error: The pipeline of the {sentence}", errors.splitlines()[-1]), errors


def test_a_pipeline_without_the_masks_that_a_model_learns(program: Program, tmp_path: Path, digits: Path) -> None:
    write_config(tmp_path, digits, ROOT / "configs/mask_rcnn/mask-rcnn_tiny_digits.py")
    config = tmp_path / f"{tmp_path.name}.py"
    config.write_text(
        f"_base_ = 'tiny.py'\ntrain_dataloader = dict(dataset=dict(pipeline=[{LOAD}, {OBJECTS}, {PACK}]))\n"
    )
    status, _, errors = program("train", config, "--work-dir", tmp_path / "work", "--epochs", 1)
    assert status == 2
    assert errors.splitlines()[-1] == (
        "error: The pipeline of the training data loads no masks, from which this model learns: give its "
        "`LoadAnnotations` with_mask=True."
    )


def test_lost_contact_to_another_process_is_no_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def lost(runner: Runner, **settings: object) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234")

    monkeypatch.setattr(Runner, "set_randomness", lost)
    with pytest.raises(RuntimeError, match="closed by peer"), explained("c.py"):
        Runner(model=nn.Identity(), work_dir=str(tmp_path))


def test_options_that_do_not_go_with_the_config(program: Program, tmp_path: Path, digits: Path) -> None:
    config = write_config(tmp_path, digits)
    status, _, errors = program("train", config, "--cfg-options", "model.backbone.depth.deeper=1")
    assert status == 2
    assert errors.splitlines()[-1].startswith("error: --cfg-options model.backbone.depth.deeper cannot be merged into")
