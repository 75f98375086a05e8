"""Checkpoints between those that the config asks for: every few minutes, before an evaluation, and for a signal."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.dist import all_reduce, barrier, broadcast, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from brs_detr.engine.running.divergence import DivergenceError
from brs_detr.engine.running.loops import evaluation_is_due
from brs_detr.engine.running.preemption import BEGINNING, SIGNALS, Preempted
from brs_detr.engine.running.work_dir import INTERIM
from brs_detr.files import write_text


@dataclass(frozen=True)
class Saved:
    """The last checkpoint of this run that can be continued, or the one that it continues.

    evaluated: the last evaluation that it knows of, see `Record`.
    at: seconds of the monotonic clock.
    """

    path: Path
    iteration: int
    evaluated: int
    at: float = field(default_factory=time.monotonic)


def largest(*values: int) -> list[int]:
    """The largest of each value over all processes: one small message, and none where there is one process.

    The host waits for it, since all processes have to leave the loop after the same iteration.
    """
    tensor = torch.tensor(values)
    all_reduce(tensor, op="max")
    return tensor.tolist()


def accumulates(runner: Runner) -> bool:
    """Whether gradients are kept for the next iteration. A checkpoint would lack them."""
    return not getattr(runner.optim_wrapper, "should_update", lambda: True)()


def reached(runner: Runner) -> str:
    """How far the last checkpoint goes."""
    return f"after iteration {runner.saved.iteration} of {runner.max_iters}, saved in {runner.saved.path}"


class InterimCheckpointHook(Hook):
    """Saves between the checkpoints of the config, and ends a training that was signalled.

    The processes agree after every iteration, by the largest of their values: a signal may reach one of them alone, and
    clocks differ. It is one message of two numbers after the many of the gradients, when the host has waited for the
    losses already; a note in torch's store would be read by some of them one iteration later than by others.

    minutes: between two checkpoints of any kind; None for none but those of signals and evaluations.
    """

    priority = "LOWEST"  # after all that belongs to the iteration, the checkpoints of the config among it

    def __init__(self, minutes: float | None = None) -> None:
        self.minutes = minutes
        self.started: float | None = None  # None outside training

    def before_train(self, runner: Runner) -> None:
        self.started = time.monotonic()
        if runner.val_loop and evaluation_is_due(runner.train_loop) and runner.record.evaluated != runner.iter:
            runner.logger.info(f"The evaluation after iteration {runner.iter} is missing: it is made up.")
            runner.val_loop.run()
        SIGNALS.safe = reached(runner) if runner.saved else BEGINNING  # the first iteration may compile for minutes

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        SIGNALS.safe = None
        if accumulates(runner):
            return
        signum, due = largest(SIGNALS.received, self.is_due(runner))
        if signum or due:
            ensure_saved(runner, runner.iter + 1)
        if signum:
            raise Preempted(signum, reached(runner))

    def before_val(self, runner: Runner) -> None:
        """An evaluation may take long: all is saved before, and a signal then need not wait for its end.

        Unless it comes amid a step: nothing is saved then, and a signal waits for the step's end.
        """
        if self.started is not None and not accumulates(runner):
            ensure_saved(runner, runner.iter)
            SIGNALS.safe = reached(runner)
            if signum := largest(SIGNALS.received)[0]:  # while an epoch's checkpoint was written
                raise Preempted(signum, reached(runner))

    def before_val_epoch(self, runner: Runner) -> None:
        """All processes evaluate by the running means of the first, which checkpoints hold."""
        if self.started is not None:
            for buffer in runner.model.buffers():
                broadcast(buffer)

    def after_val(self, runner: Runner) -> None:
        """The checkpoint learns of the evaluation, so that it is not made up."""
        if self.started is None or accumulates(runner):
            return
        if runner.saved.evaluated != runner.record.evaluated:
            save(runner, runner.saved.path, runner.iter)
        if signum := largest(SIGNALS.received)[0]:
            raise Preempted(signum, reached(runner))

    def is_due(self, runner: Runner) -> bool:
        """Whether the first process, which writes, has not written for the given minutes."""
        if self.minutes is None or self.started is None or not is_main_process():
            return False
        last = runner.saved.at if runner.saved else self.started
        return time.monotonic() - last >= 60 * self.minutes


def ensure_saved(runner: Runner, iteration: int) -> None:
    """Save unless it is done; all processes call it."""
    if runner.saved is None or runner.saved.iteration != iteration:
        save(runner, Path(runner.work_dir, INTERIM), iteration)


def rescued(runner: Runner) -> str | None:
    """What to say of a training that an image which cannot be read has ended; what that would lose is saved.

    Not where there are several processes, of which this one alone knows of the error, nor in an evaluation, whose
    weights may be averages, and before which all is saved.
    """
    if runner.iter and get_world_size() == 1 and SIGNALS.safe is None and not accumulates(runner):
        with suppress(OSError, DivergenceError):
            ensure_saved(runner, runner.iter)
    return f"Training stopped {reached(runner)}: mend this, and continue with --resume." if runner.saved else None


def save(runner: Runner, path: Path, iteration: int) -> None:
    """Write a checkpoint; no process goes on before, for a launcher ends all when the first of them leaves."""
    runner.save_checkpoint(str(path.parent), path.name, meta=dict(epoch=runner.epoch, iter=iteration), by_epoch=False)
    if is_main_process():
        write_text(Path(runner.work_dir, "last_checkpoint"), str(path))
    barrier()
