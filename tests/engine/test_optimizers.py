"""One pass over all weights of the same settings against torch's pass for each group, bit for bit."""

import copy
from unittest import mock

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from brs_detr.engine.running.optimizers import OnePassAdamW, merged

SCHEDULE = (1.0, 0.5, 0.25, 2.0)  # times the rates, step by step


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3), nn.PReLU())


def trained(network: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in steps:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * SCHEDULE[step]
        optimizer.zero_grad()
        network(torch.randn(6, 5, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        network[3].weight.grad = None  # as of a part that took no part
        optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def built(kind: str, network: nn.Module, fused: bool, slow: str = "2.weight") -> torch.optim.Optimizer:
    """By mmengine, with a group for each weight; that of a tenth of the rate also holds its custom key."""
    config = dict(
        type="OptimWrapper",
        optimizer=dict(type=kind, lr=1e-2, weight_decay=0.1, fused=fused),
        paramwise_cfg=dict(custom_keys={slow: dict(lr_mult=0.1)}, norm_decay_mult=0.0),
    )
    return build_optim_wrapper(network, config).optimizer


@pytest.mark.parametrize("slow", ["0.weight", "2.weight"])
@pytest.mark.parametrize("fused", [True, False])
def test_weights_and_checkpoints_are_torchs(fused: bool, slow: str) -> None:
    """Also where one goes on with what the other saved, and where the first group has keys that others lack."""
    networks = model(), model()
    kinds = ("OnePassAdamW", "AdamW")
    ours, theirs = (built(kind, network, fused, slow) for kind, network in zip(kinds, networks, strict=True))
    assert isinstance(ours, OnePassAdamW)
    for steps in (range(0, 2), range(2, 4)):
        trained(networks[0], ours, steps)
        trained(networks[1], theirs, steps)
        torch.testing.assert_close(networks[0].state_dict(), networks[1].state_dict(), rtol=0, atol=0)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
        saved = copy.deepcopy(ours.state_dict()), copy.deepcopy(theirs.state_dict())
        theirs.load_state_dict(saved[0])
        ours.load_state_dict(saved[1])
    assert len(ours.param_groups) == len(list(networks[0].parameters()))


def test_a_step_takes_a_pass_for_each_setting() -> None:
    network = model()
    optimizer = built("OnePassAdamW", network, fused=False)
    groups = merged(optimizer.param_groups, optimizer.defaults)
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups] == [
        (1e-2, 0.1, 4),
        (1e-2, 0.0, 2),
        (1e-3, 0.1, 1),
    ]
    with mock.patch("torch.optim.adam.adam") as passes:
        trained(network, optimizer, range(1))
    assert len(passes.mock_calls) == len(groups)


def test_after_an_error_the_groups_are_there() -> None:
    network = model()
    optimizer = built("OnePassAdamW", network, fused=False)
    before = optimizer.param_groups
    with mock.patch("torch.optim.adam.adam", side_effect=RuntimeError), pytest.raises(RuntimeError):
        trained(network, optimizer, range(1))
    assert optimizer.param_groups is before


def test_hooks_run_once_a_step() -> None:
    """Also where an AdamW of torch's has been made, whose method calls them, too."""
    torch.optim.AdamW(model().parameters())
    optimizer = built("OnePassAdamW", model(), fused=False)
    calls: list[int] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append(0))
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    optimizer.step()
    assert calls == [0, 1]


def test_settings_that_are_lists() -> None:
    """As a group's own, or of a checkpoint that was JSON."""
    networks = model(), model()
    groups = [[dict(params=[weight], betas=[0.9, 0.99]) for weight in network.parameters()] for network in networks]
    ours, theirs = OnePassAdamW(groups[0], lr=1e-2), torch.optim.AdamW(groups[1], lr=1e-2)
    trained(networks[0], ours, range(2))
    trained(networks[1], theirs, range(2))
    torch.testing.assert_close(networks[0].state_dict(), networks[1].state_dict(), rtol=0, atol=0)


def test_named_weights() -> None:
    network = model()
    optimizer = OnePassAdamW(network.named_parameters(), lr=1e-2)
    before = copy.deepcopy(network.state_dict())
    trained(network, optimizer, range(1))
    assert not torch.equal(before["0.weight"], network[0].weight)
