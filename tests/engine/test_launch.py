"""What the command line changes in a config, and what it leaves."""

from pathlib import Path
from typing import Any

import pytest

from brs_detr.engine import launch
from brs_detr.engine.checkpoints import Runner
from tests.scripts.processes import write_config


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"randomness.deterministic": True, "randomness.diff_rank_seed": True}, {"deterministic", "diff_rank_seed"}),
        ({"randomness.seed": 1}, set()),
        ({}, set()),
    ],
)
def test_a_seed_leaves_the_other_settings_of_randomness(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch, stated: dict[str, Any], expected: set[str]
) -> None:
    configs = []
    monkeypatch.setattr(Runner, "from_cfg", configs.append)
    monkeypatch.setattr(launch, "run_training", lambda runner, remarks: None)
    config = write_config(tmp_path, digits)
    launch.train(str(config), folder=str(tmp_path / "work"), seed=7, options=stated)
    assert configs[0].randomness == {"seed": 7} | dict.fromkeys(expected, True)


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
