"""A pipeline counts where a config sets it; image size and flips; a warm-up is a part of the run."""

from pathlib import Path

import pytest
from mmengine.config import Config

from brs_detr.engine.running import schedules
from brs_detr.engine.setup import pipelines
from brs_detr.engine.setup.config import load_config
from brs_detr.errors import InputError
from tests.reference import ROOT

COCO = ROOT / "configs" / "atss" / "atss_r50_fpn_1x_coco.py"
DETR = ROOT / "configs" / "brs_detr" / "brs-detr_r50_1x_coco.py"


def derived(folder: Path, text: str, base: Path = COCO, name: str = "own.py") -> Path:
    path = folder / name
    path.write_text(f"_base_ = {str(base)!r}\n{text}")
    return path


def kinds(config: Config, split: str) -> list[str]:
    return [step.type for step in config[f"{split}_dataloader"].dataset.pipeline]


def test_a_variable_takes_effect_through_every_level(tmp_path: Path) -> None:
    own = "train_pipeline = [step for step in _base_.train_pipeline if step.type != 'RandomFlip']\n"
    child = derived(tmp_path, own)
    assert kinds(load_config(str(COCO), None, None), "train")[3] == "RandomFlip"
    for path in (child, derived(tmp_path, "", child, "grandchild.py")):
        assert "RandomFlip" not in kinds(load_config(str(path), None, None), "train")
    config = load_config(str(derived(tmp_path, "test_pipeline = _base_.test_pipeline[:2]")), None, None)
    assert kinds(config, "val") == kinds(config, "test") == ["LoadImage", "Resize"]
    option = {"train_pipeline.2.scale": (640, 480)}
    assert load_config(str(COCO), option, None).train_dataloader.dataset.pipeline[2].scale == (640, 480)


def test_a_pipeline_of_the_data_set_stays(tmp_path: Path) -> None:
    own = "train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline[:2]))"
    assert kinds(load_config(str(derived(tmp_path, own)), None, None), "train") == ["LoadImage", "LoadAnnotations"]


@pytest.mark.parametrize(("text", "sides"), [("640", (640, 640)), ("480x800", (800, 480)), ("800X480", (800, 480))])
def test_sizes(text: str, sides: tuple[int, int]) -> None:
    assert pipelines.size(text) == sides


@pytest.mark.parametrize("text", ["16", "axb", "640x", "1x2x3", "-640", "6.5"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match=f"--image-size {text}: give a number of pixels from 32 on"):
        pipelines.size(text)


def test_image_size_changes_scales_and_crops_in_proportion(tmp_path: Path) -> None:
    config = load_config(str(DETR), None, str(tmp_path))
    pipelines.set_size(config, (640, 640))
    train, test = config.train_dataloader.dataset.pipeline, config.test_dataloader.dataset.pipeline
    assert test[1].scale == config.val_dataloader.dataset.pipeline[1].scale == (640, 640)
    (resize,), (before, crop, after) = train[3].transforms
    assert resize.scales == after.scales
    assert (resize.scales[0], resize.scales[-1]) == ((384, 640), (640, 640))
    assert before.scales == [(320, 2017), (400, 2017), (480, 2017)]
    assert crop.crop_size == (307, 480)
    assert config.train_pipeline == train
    with pytest.raises(InputError, match="no step of the test pipeline"):
        pipelines.set_size(Config({}), (640, 640))


def test_flips() -> None:
    config = Config.fromfile(COCO)
    pipelines.set_flip(config, "both")
    flip = config.train_dataloader.dataset.pipeline[3]
    assert (flip.prob, flip.direction) == (0.75, ["horizontal", "vertical", "diagonal"])
    pipelines.set_flip(config, "none")
    assert "RandomFlip" not in kinds(config, "train")
    pipelines.set_flip(config, "vertical")
    assert kinds(config, "train")[:3] == ["LoadImage", "LoadAnnotations", "RandomFlip"]


@pytest.mark.parametrize(("iterations", "end"), [(90_000, 500), (5000, 500), (1000, 100), (20, 2), (3, 2)])
def test_a_warm_up_is_a_part_of_the_run(iterations: int, end: int) -> None:
    warm_up = {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 500}
    steps = {"type": "MultiStepLR", "by_epoch": True, "milestones": [8]}
    for given in ([warm_up, steps], {"a": [warm_up, steps]}):
        short = schedules.with_short_warm_up(given, iterations)
        short = short["a"] if isinstance(short, dict) else short
        assert short == [{**warm_up, "end": end}, steps]
    assert warm_up["end"] == 500
