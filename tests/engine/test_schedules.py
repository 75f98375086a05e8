"""A schedule that takes the place of a checkpoint's leads to where a training by it alone would be, to the bit."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import ParamSchedulerHook
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from brs_detr.engine.running.schedules import Schedule

LENGTH = 5  # iterations of an epoch
WARM_UP = dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=7)


def by_epochs(kind: str, **settings: Any) -> dict[str, Any]:
    return dict(type=kind, by_epoch=True, **settings)


# for 3 epochs and for 6
PAIRS = {
    "milestones": (
        [WARM_UP, by_epochs("MultiStepLR", milestones=[1, 2])],
        [WARM_UP, by_epochs("MultiStepLR", milestones=[3, 5])],
    ),
    "cosine": (
        [WARM_UP, by_epochs("CosineAnnealingLR", T_max=3, end=3, eta_min=0.01, convert_to_iter_based=True)],
        [WARM_UP, by_epochs("CosineAnnealingLR", T_max=6, end=6, eta_min=0.01, convert_to_iter_based=True)],
    ),
    "warm-up": ([WARM_UP], [WARM_UP | dict(end=14)]),
    "period": ([by_epochs("StepLR", step_size=1)], [by_epochs("StepLR", step_size=2)]),
    "another kind": ([by_epochs("StepLR", step_size=1, gamma=0.5)], [by_epochs("ExponentialLR", gamma=0.5)]),
    "one less": ([WARM_UP, by_epochs("ExponentialLR", gamma=0.5)], [WARM_UP]),
    "none": ([by_epochs("ExponentialLR", gamma=0.5)], []),
    "momentum": ([by_epochs("StepMomentum", step_size=1)], [by_epochs("PolyMomentum", end=6)]),
    "one cycle": (
        [by_epochs("OneCycleLR", eta_max=1.0, total_steps=3)],
        [by_epochs("OneCycleLR", eta_max=1.0, total_steps=9)],
    ),
}


def new(configs: list[dict[str, Any]]) -> SimpleNamespace:
    """A runner of two groups of weights, one of them with another learning rate."""
    groups = [dict(params=[nn.Parameter(torch.zeros(1))]), dict(params=[nn.Parameter(torch.zeros(1))], lr=0.3)]
    wrapper = OptimWrapper(torch.optim.SGD(groups, lr=0.1, momentum=0.9))
    arguments = dict(optimizer=wrapper, epoch_length=LENGTH)
    built = [PARAM_SCHEDULERS.build(dict(each), default_args=arguments) for each in configs]
    return SimpleNamespace(optim_wrapper=wrapper, param_schedulers=built)


def train(runner: SimpleNamespace, first: int, last: int) -> SimpleNamespace:
    """The iterations from the first to before the last, with the ends of their epochs but that of the last."""
    hook = ParamSchedulerHook()
    for done in range(first, last):
        if done and done % LENGTH == 0:
            hook.after_train_epoch(runner)
        runner.optim_wrapper.step()
        hook.after_train_iter(runner, done)
    return runner


def stands(runner: SimpleNamespace) -> tuple[list, list]:
    """The rates of both groups, and all that the schedulers hold."""
    values = [(group["lr"], group["momentum"]) for group in runner.optim_wrapper.param_groups]
    return values, [dict(each.state_dict()) for each in runner.param_schedulers]


def load(runner: SimpleNamespace, saved: SimpleNamespace) -> None:
    """As mmengine does, which takes no note of what one of both has more schedulers of."""
    for group, settings in zip(runner.optim_wrapper.param_groups, saved.optim_wrapper.param_groups, strict=True):
        group.update({key: value for key, value in settings.items() if key != "params"})
    for scheduler, other in zip(runner.param_schedulers, saved.param_schedulers, strict=False):
        scheduler.load_state_dict(other.state_dict())


@pytest.mark.filterwarnings("ignore:Detected call of `scheduler.step")  # an epoch that ends without an iteration
@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("done", [3, LENGTH, 2 * LENGTH + 1])
def test_another_schedule(kind: str, done: int) -> None:
    before, after = PAIRS[kind]
    checkpoint, resumed = train(new(before), 0, done), new(after)
    schedule = Schedule.of(resumed)
    load(resumed, checkpoint)
    assert not schedule.is_that_of(stands(checkpoint)[1])
    schedule.replay(resumed, epochs=(done - 1) // LENGTH, iterations=done, length=LENGTH)
    alone = train(new(after), 0, done)
    assert stands(resumed) == stands(alone)
    assert stands(train(resumed, done, 5 * LENGTH)) == stands(train(alone, done, 5 * LENGTH))


@pytest.mark.parametrize("kind", PAIRS)
def test_the_same_schedule_wherever_it_stands(kind: str) -> None:
    for configs in PAIRS[kind]:
        schedule = Schedule.of(new(configs))
        for done in (0, 3, 2 * LENGTH + 1):
            assert schedule.is_that_of(stands(train(new(configs), 0, done))[1])


def test_what_goes_by_evaluations_cannot_be_repeated() -> None:
    assert Schedule.of(new([WARM_UP, by_epochs("ReduceOnPlateauLR")])).by_evaluations == ["ReduceOnPlateauLR"]
    assert not Schedule.of(new([WARM_UP])).by_evaluations
