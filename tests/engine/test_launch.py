"""What the command line changes in a config, and what it leaves."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from brs_detr.engine import launch
from brs_detr.engine.running import work_dir
from brs_detr.engine.running.checkpoints import Runner
from brs_detr.engine.running.resuming import AUTO, LAST
from brs_detr.engine.setup.config import load_config
from brs_detr.engine.train_options import TrainOptions
from brs_detr.errors import InputError
from tests.data import own
from tests.scripts.processes import ROOT, write_config


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configs of the trainings that a test launches; their runners are not made."""
    found: list[Config] = []

    def note(config: Config) -> SimpleNamespace:
        found.append(config)
        return SimpleNamespace()

    monkeypatch.setattr(Runner, "from_cfg", note)
    monkeypatch.setattr(launch, "run_training", lambda runner, remarks: work_dir.discard(runner.outdated))
    return found


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"randomness.deterministic": True, "randomness.diff_rank_seed": True}, {"deterministic", "diff_rank_seed"}),
        ({"randomness.seed": 1}, set()),
        ({}, set()),
    ],
)
def test_a_seed_leaves_the_other_settings_of_randomness(
    tmp_path: Path, digits: Path, configs: list[Config], stated: dict[str, Any], expected: set[str]
) -> None:
    config = write_config(tmp_path, digits)
    launch.train(str(config), TrainOptions(folder=str(tmp_path / "work"), seed=7, options=stated))
    assert configs[0].randomness == {"seed": 7} | dict.fromkeys(expected, True)


def test_own_data_then_options_then_arguments(tmp_path: Path, digits: Path, configs: list[Config]) -> None:
    """The later has the last word."""
    own.roboflow(digits, tmp_path / "data")
    warm_up = dict(type="LinearLR", by_epoch=False, begin=0, end=10)
    launch.train(
        str(write_config(tmp_path, digits)),
        TrainOptions(
            folder=str(tmp_path / "work"),
            data=tmp_path / "data",
            epochs=3,
            batch=16,
            options={
                "train_dataloader.batch_size": 6,
                "train_cfg.max_epochs": 6,
                "param_scheduler": [warm_up],
                "val_evaluator.metric": "proposal",
                "work_dir": "elsewhere",
            },
        ),
    )
    (config,) = configs
    assert (config.train_dataloader.batch_size, config.optim_wrapper.accumulative_counts) == (4, 4)
    assert (config.train_cfg.max_epochs, config.param_scheduler[0].end) == (3, 40)
    assert config.val_evaluator.metric == "proposal"
    assert config.work_dir == str(tmp_path / "work")


def test_images_that_were_trained_on_are_not_validated_on_later(
    tmp_path: Path, digits: Path, configs: list[Config]
) -> None:
    """--split draws by --seed, and the seed of before is not known where a training is continued."""
    own.roboflow(digits, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "valid")
    config, work = str(write_config(tmp_path, digits)), tmp_path / "work"

    def train(**options: Any) -> None:
        launch.train(config, TrainOptions(folder=str(work), data=tmp_path / "data", share=0.3, **options))

    def note(start: str, noted: Config) -> None:
        (work / start / "vis_data").mkdir(parents=True)
        (work / start / "vis_data" / "scalars.json").write_text("")
        noted.dump(work / start / "vis_data" / "config.py")

    for seed in (0, 7):  # the first start comes to nothing
        train(seed=seed)
    note("20260101_120000", configs[1])
    train(resume=AUTO)  # nothing has been trained, and it begins
    torch.save({"state_dict": {}, "meta": {}}, work / "epoch_1.pth")
    note("20260101_130000", Config.fromfile(config))  # an evaluation on other data
    learnt = rf"--split would validate on \d images? that the training in {work} has learnt from, such as \S+\.png: "
    for resume in (LAST, AUTO, str(work / "epoch_1.pth")):
        with pytest.raises(InputError, match=rf"{learnt}.* --seed as at its start.* train\.py {work} --resume"):
            train(resume=resume)
        train(resume=resume, seed=7)
    assert len({each.val_dataloader.dataset.ann_file for each in configs[1:2] + configs[3:]}) == 1


def test_a_config_of_a_continued_training_begins_anew(tmp_path: Path, digits: Path, configs: list[Config]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    old = work / "epoch_3.pth"
    torch.save({"state_dict": {}}, old)
    config = write_config(work, digits)
    config.write_text(config.read_text() + f"\nresume, load_from = True, {str(old)!r}\n")
    launch.train(str(work), TrainOptions(folder=str(tmp_path / "new")))
    launch.train(
        str(work), TrainOptions(options={"resume": True, "load_from": str(old)}, folder=str(tmp_path / "newer"))
    )
    launch.train(str(work), TrainOptions(overwrite=True))
    assert [(each.resume, each.load_from) for each in configs] == [(False, None), (True, str(old)), (False, None)]
    assert not old.exists()


def test_what_torchrun_starts_again_is_continued(
    tmp_path: Path, toy_config: Path, configs: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after --overwrite, which counts once; and a model without blocks is refused before it counts."""
    last = tmp_path / "epoch_1.pth"
    torch.save({"state_dict": {}, "meta": {"iter": 5}}, last)
    with pytest.raises(InputError, match="--checkpoint-activations: ToyDetector has no block"):
        launch.train(str(toy_config), TrainOptions(folder=str(tmp_path), overwrite=True, checkpoint_activations=True))
    assert last.exists()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    runners = []
    monkeypatch.setattr(launch, "run_training", lambda runner, remarks: runners.append(runner))
    for overwrite in (True, False):
        launch.train(str(toy_config), TrainOptions(folder=str(tmp_path), overwrite=overwrite))
        assert vars(runners.pop()) == {"_load_from": str(last), "_resume": True, "outdated": []}


@pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process
def test_what_cannot_begin_overwrites_nothing(tmp_path: Path, toy_config: Path) -> None:
    """A mistake in the model, in the optimizer and in the weights; then a training that takes the place of another."""
    weights, refused, begun = tmp_path / "weights.pth", tmp_path / "refused", tmp_path / "begun"
    torch.save({"state_dict": {"other.weight": torch.zeros(2)}}, weights)
    for work in (refused, begun):
        work.mkdir()
        (work / "epoch_3.pth").write_text("old")

    def train(work: Path, load_from: str | None = None, **options: Any) -> None:
        given = TrainOptions(folder=str(work), overwrite=True, epochs=1, load_from=load_from, options=options)
        launch.train(str(toy_config), given)

    with pytest.raises(TypeError, match="layerz"):
        train(refused, **{"model.layerz": 3})
    with pytest.raises(TypeError, match="rate"):
        train(refused, **{"optim_wrapper.optimizer.rate": 1.0})
    with pytest.raises(InputError, match=r"weights\.pth"):
        train(refused, str(weights))
    assert (refused / "epoch_3.pth").read_text() == "old"
    train(begun)
    assert [path.name for path in begun.glob("epoch_*")] == ["epoch_1.pth"]


def test_without_workers_what_belongs_to_workers_is_left_aside(tmp_path: Path, digits: Path) -> None:
    """The project's configs keep them between epochs, and where shared memory is short, none is what helps."""
    path = ROOT / "configs" / "brs_detr" / "brs-detr_tiny_digits.py"
    options = {"num_workers": 0, "prefetch_factor": 4, "dataset.data_root": str(digits)}
    options = {f"train_dataloader.{name}": value for name, value in options.items()}
    config = load_config(str(path), options, str(tmp_path))
    assert config.train_dataloader.persistent_workers
    loader = Runner.build_dataloader(config.train_dataloader)
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor) == (0, False, None)
    assert len(next(iter(loader))["inputs"]) == config.train_dataloader.batch_size
    config.train_dataloader.num_workers = 1
    assert Runner.build_dataloader(config.train_dataloader).persistent_workers


class Hooks(Runner):
    """A runner that lists its hooks by name, and does nothing else."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        self.names.append(hook["type"])


def test_custom_hooks_are_added_to_the_projects() -> None:
    """Each once, also where a config lists one that has become a default; None takes one away."""
    runner = Hooks()
    progress = dict(type="ProgressHook")
    runner.register_default_hooks(dict(progress=progress, curves=None, timer=None))
    runner.register_custom_hooks([dict(type="EMAHook"), progress])
    assert runner.names[-2:] == ["ProgressHook", "EMAHook"]
    assert not {"CurvesHook", "IterTimerHook"} & set(runner.names)


def test_nothing_to_evaluate_on(tmp_path: Path, digits: Path) -> None:
    config = write_config(tmp_path, digits)
    for missing in ("test_dataloader", "test_evaluator"):
        with pytest.raises(InputError, match="has no test_dataloader, or no test_evaluator"):
            launch.evaluate(str(config), "none.pth", folder=str(tmp_path), options={missing: None})
