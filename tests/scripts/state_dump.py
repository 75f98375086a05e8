"""A hook for tests: every process writes its parameters at the end of training."""

from pathlib import Path

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class StateDumpHook(Hook):
    """Writes ``rank_N.pth`` into the work directory."""

    def after_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        torch.save(model.state_dict(), Path(runner.work_dir, f"rank_{get_rank()}.pth"))
