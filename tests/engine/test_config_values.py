"""YAML and JSON configs run nothing of their own, and say values as Python configs do."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mmengine.config import Config

from brs_detr.engine.setup.config import load_config, read_config
from brs_detr.errors import InputError
from tests.scripts.processes import ROOT, write_config

Program = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process

TAGS = {
    "apply": "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{mark}]]",
    "new": "!!python/object/new:os.system ['touch {mark}']",
    "name": "!!python/name:os.system",
    "module": "!!python/module:os",
    "own": "!own {{a: 1}}",
}


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
@pytest.mark.parametrize("base", [False, True])
@pytest.mark.parametrize("tag", TAGS)
def test_a_yaml_config_runs_nothing(tmp_path: Path, tag: str, base: bool, suffix: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / f"evil.{suffix}"
    path.write_text("a: 1\nb: " + TAGS[tag].format(mark=mark))
    if base:
        path = tmp_path / "config.py"
        path.write_text(f"_base_ = './evil.{suffix}'\n")
    with pytest.raises(InputError, match=r"more than values \(.*tag.*, line 2\): write it as a Python config"):
        load_config(str(path), None, None)
    assert not mark.exists()


def test_yaml_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: [1, 2\nb: 3")
    with pytest.raises(InputError, match=r"cannot be read \(.*, line 2\)\."):
        load_config(str(tmp_path / "config.yaml"), None, None)


def test_yaml_and_json_of_values(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text('{"optimizer": {"type": "SGD", "lr": 0.1}}')
    (tmp_path / "config.yaml").write_text("_base_: base.json\noptimizer: {lr: 0.2}\nscale: !!python/tuple [2, 3]")
    config = load_config(str(tmp_path / "config.yaml"), None, None)
    assert config.optimizer == {"type": "SGD", "lr": 0.2}
    assert config.scale == (2, 3)
    config.dump(str(tmp_path / "again.yaml"))
    assert load_config(str(tmp_path / "again.yaml"), None, None).scale == (2, 3)


MKDIR = {"type": "os.mkdir", "path": "made"}
HOSTILE: dict[str, dict[str, Any]] = {
    "model.type": {"model": MKDIR},
    "model.backbone.type": {"model": {"type": "DINO", "backbone": MKDIR}},
    "train_dataloader.dataset.pipeline.1.type": {"train_dataloader": {"dataset": {"pipeline": [{"type": "A"}, MKDIR]}}},
    "train_dataloader.collate_fn.type": {"train_dataloader": {"collate_fn": MKDIR}},
    "custom_hooks.0.type": {"custom_hooks": [MKDIR]},
    "custom_hooks.0.ema_type": {"custom_hooks": [{"type": "EMAHook", "ema_type": "os.mkdir"}]},
    "optim_wrapper.optimizer.type": {"optim_wrapper": {"type": "OptimWrapper", "optimizer": MKDIR}},
    "optim_wrapper.constructor": {"optim_wrapper": {"constructor": "os.mkdir"}},
    "pipeline.0.resize_type": {"pipeline": [{"type": "RandomResize", "resize_type": "os.mkdir"}]},
    "model.test_cfg.nms.type": {"model": {"test_cfg": {"nms": {"type": "exec('import os; os.mkdir(\"made\")')"}}}},
    "a.type": {"a": {"type": "mmdet.utils.os.mkdir"}},
    "b.type": {"b": {"type": "mmengine.dump", "obj": 1, "file": "made"}},
    "c.type": {"c": {"type": "antigravity"}},
    "d.type": {"d": {"type": "evil.Name"}},
    "d._scope_": {"d": {"type": "DINO", "_scope_": "evil"}},
    "default_scope": {"default_scope": "evil"},
    "custom_imports": {"custom_imports": {"imports": ["evil"], "allow_failed_imports": True}},
    "custom_imports of": {"custom_imports": {"imports": ["brs_detr.registry", "evil"]}},
    "e.backend_args.sys_path": {"e": {"backend_args": {"backend": "memcached", "sys_path": "evil"}}},
    "f.ann_file": {"f": {"type": "CocoDataset", "ann_file": "evil.pkl"}},
    "g.type": {"g": {"type": "CameraMotionCompensation", "warp_mode": "os.mkdir('made')"}},
}


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))
    return path


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a package that leaves a mark when it is imported."""
    package = tmp_path / "evil"
    package.mkdir()
    for name in ("__init__", "registry"):
        (package / f"{name}.py").write_text("import pathlib\npathlib.Path('made').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("place", HOSTILE)
def test_what_would_run_is_refused(program: Program, evil: Path, place: str, suffix: str) -> None:
    path = write(evil / f"own.{suffix}", HOSTILE[place])
    status, _, errors = program("train", path)
    assert status == 2
    assert errors.startswith(f"error: The config {path} has {place}")
    assert errors.endswith(": only a Python config may name functions and modules of its own.\n")
    assert errors.count("\n") == 1
    assert not (evil / "made").exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("name", ["top.json", "top.py"])
def test_a_base_is_looked_through(evil: Path, name: str) -> None:
    base = write(evil / "base.yaml", {"model": MKDIR})
    top = evil / name
    top.write_text('{"_base_": "base.yaml"}' if name == "top.json" else "_base_ = 'base.yaml'\n")
    with pytest.raises(InputError, match=rf"The config {base} has model\.type = 'os\.mkdir', which no registry has"):
        load_config(str(top), None, None)


def test_a_variable_of_a_base_is_no_type(evil: Path) -> None:
    """mmengine puts it in only when the file has been read."""
    write(evil / "base.yaml", {"function": "os.mkdir"})
    (evil / "top.yaml").write_text("_base_: base.yaml\nmodel: {type: '{{_base_.function}}', path: made}\n")
    with pytest.raises(InputError, match=r"top\.yaml has model\.type = "):
        load_config(str(evil / "top.yaml"), None, None)


def test_aliases_that_name_each_other(tmp_path: Path) -> None:
    """Each is looked through once, however often it is meant."""
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    (tmp_path / "own.yaml").write_text("a0: &a0 {type: os.mkdir}\n" + levels)
    with pytest.raises(InputError, match=r"own\.yaml has a0\.type = 'os\.mkdir'"):
        read_config(tmp_path / "own.yaml")


def test_misspelt_names_are_told_as_in_python(program: Program, tmp_path: Path, digits: Path) -> None:
    config = Config.fromfile(write_config(tmp_path, digits))
    config.custom_imports.imports = ["brs_detr.registry"]
    config.custom_hooks = []
    config.model.type = "DINOO"
    config.dump(str(tmp_path / "own.yaml"))
    status, _, errors = program("train", tmp_path / "own.yaml", "--work-dir", tmp_path / "work")
    assert status == 2
    assert "names the type DINOO, which no model has; did you mean DINO" in errors


DUMPED = (
    "brs_detr/brs-detr_tiny_digits", "brs_detr/brs-detr_quickstart_digits", "brs_detr/brs-detr_r50_1x_coco",
    "brs_detr/brs-detr_swin-t_1x_coco", "mask_rcnn/brs-mask-rcnn_tiny_digits", "paa/brs-paa_r50_fpn_1x_coco",
    "co_dino/co-dino_5scale_r50_1x_coco", "atss/brs-atss_tiny_digits",
)  # fmt: skip


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("name", DUMPED)
def test_configs_of_the_project_load_as_they_are_dumped(tmp_path: Path, name: str, suffix: str) -> None:
    config = Config.fromfile(ROOT / "configs" / f"{name}.py")
    config.dump(str(tmp_path / f"own.{suffix}"))
    assert load_config(str(tmp_path / f"own.{suffix}"), None, None).model.type == config.model.type
