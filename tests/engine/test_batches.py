"""`--batch`: the global batch from processes, images and forward passes."""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from brs_detr.engine import launch
from brs_detr.engine.running.batches import set_batch
from brs_detr.engine.train_options import TrainOptions
from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint
from tests.scripts.processes import write_config


def config() -> Config:
    by_iterations = dict(type="LinearLR", by_epoch=False, begin=0, end=500)
    by_epochs = dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[8, 11])
    return Config(
        dict(
            train_dataloader=dict(batch_size=4),
            train_cfg=dict(max_epochs=12),
            optim_wrapper=dict(type="OptimWrapper"),
            param_scheduler=[by_iterations, by_epochs],
        )
    )


@pytest.mark.parametrize(
    ("batch", "processes", "images", "passes", "said"),
    [
        (16, 1, 4, 4, "1 process x 4 images x 4 forward passes"),
        (16, 8, 2, 1, "8 processes x 2 images x 1 forward pass"),
        (12, 2, 3, 2, "2 processes x 3 images x 2 forward passes"),
        (7, 1, 1, 7, "1 process x 1 image x 7 forward passes"),
    ],
)
def test_the_batch_is_divided(batch: int, processes: int, images: int, passes: int, said: str) -> None:
    changed = config()
    assert f"for {batch} images: {said}." in set_batch(changed, batch, processes)
    assert changed.train_dataloader.batch_size == images
    assert changed.optim_wrapper.accumulative_counts == passes
    warm_up, steps = changed.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 500 * passes)
    assert steps == config().param_scheduler[1]


def test_a_schedule_is_stretched_by_what_is_new() -> None:
    """A config that accumulates, such as one that a training has left, counts its own passes already."""
    changed = config()
    changed.merge_from_dict({"param_scheduler.1": dict(by_epoch=False, milestones=[6, 9])})
    for batch, passes in ((16, 4), (16, 4), (8, 2), (4, 1)):
        set_batch(changed, batch, 1)
        assert changed.optim_wrapper.accumulative_counts == passes
        assert changed.param_scheduler[0].end == 500 * passes
        assert changed.param_scheduler[1].milestones == [6 * passes, 9 * passes]


def test_one_schedule_or_several_by_optimizer() -> None:
    by_iterations, by_epochs = config().param_scheduler
    for given in (by_iterations, {"a": [by_iterations, by_epochs], "b": by_iterations}):
        changed = config()
        changed.param_scheduler = given
        set_batch(changed, 16, 1)
        found = changed.param_scheduler if "type" in given else changed.param_scheduler.b
        assert found.end == 500 * 4


@pytest.mark.parametrize(
    ("batch", "processes", "options", "sentence"),
    [
        (0, 1, {}, "--batch needs at least 1."),
        (16, 3, {}, "--batch 16 cannot be divided among 3 processes: take 18."),
        (16, 1, {"auto_scale_lr": {"enable": True}}, "--batch leaves the learning rate as it is"),
        (16, 1, {"train_cfg": {"_delete_": True, "max_iters": 10}}, "--batch needs a config that trains by epochs."),
    ],
)
def test_what_cannot_be_divided(batch: int, processes: int, options: dict, sentence: str) -> None:
    changed = config()
    changed.merge_from_dict(options)
    before = copy.deepcopy(changed.train_dataloader)
    with pytest.raises(InputError, match=re.escape(sentence)):
        set_batch(changed, batch, processes)
    assert changed.train_dataloader == before


@pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process
def test_a_training_of_accumulated_batches(tmp_path: Path, digits: Path, capfd: pytest.CaptureFixture) -> None:
    """8 images, 2 at a time: two steps of 4, with activations computed again."""
    path = write_config(tmp_path, digits)
    launch.train(str(path), TrainOptions(folder=str(tmp_path / "work"), batch=4, checkpoint_activations=True, epochs=1))
    saved = read_checkpoint(str(tmp_path / "work" / "epoch_1.pth"))
    assert saved["meta"]["iter"] == 4
    assert {int(state["step"]) for state in saved["optimizer"]["state"].values()} == {2}
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values() if value.is_floating_point())
    said = "".join(capfd.readouterr())
    assert "for 4 images: 1 process x 2 images x 2 forward passes." in said
    assert "Activations are computed again in the backward pass: " in said
