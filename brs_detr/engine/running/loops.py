"""mmengine's training loops, which here begin amid an epoch where a checkpoint says so.

mmengine's own loop by epochs begins the interrupted epoch again; its loop by iterations loads all images once more
that were trained on before.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, cast

from mmdet.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from brs_detr.engine.running.record import images_per_iteration
from brs_detr.engine.running.seeding import SeededBatchSampler


@LOOPS.register_module()
class ContinuedEpochLoop(EpochBasedTrainLoop):
    """Epochs, the first of which may begin amid its batches.

    Gradients are never accumulated over the end of an epoch: a checkpoint written there would lack them.
    """

    done = 0  # batches of the epoch, before its first iteration here

    def run_epoch(self) -> None:
        self.done = self.runner.record.images // images_per_iteration(self.dataloader)
        start_at(self.dataloader, self.epoch, self.done)
        if getattr(self.runner.optim_wrapper, "_accumulative_counts", 1) > 1:
            about_the_model = nn.Identity()  # mmengine has said it, and would again
            self.runner.optim_wrapper.initialize_count_status(about_the_model, self.done, len(self.dataloader))
        super().run_epoch()

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        super().run_iter(self.done + idx, data_batch)


@LOOPS.register_module()
class ContinuedIterLoop(IterBasedTrainLoop):
    """Iterations, whose data loader begins where the checkpoint ended."""

    dataloader_iterator: Iterator

    def __init__(self, runner: Runner, dataloader: Any, *args: Any, **kwargs: Any) -> None:
        loader = runner.build_dataloader(dataloader, seed=runner.seed)
        start_at(loader, 0, runner.record.images // images_per_iteration(loader))
        super().__init__(runner, loader, *args, **kwargs)

    def run(self) -> nn.Module:
        # mmengine takes and drops as many batches as there were iterations
        self.dataloader_iterator = chain(repeat({}, self.iter), self.dataloader_iterator)
        return super().run()


def start_at(loader: DataLoader, epoch: int, done: int) -> None:
    cast(SeededBatchSampler, loader.batch_sampler).start_at(epoch, done)


CONTINUED = {"EpochBasedTrainLoop": ContinuedEpochLoop, "IterBasedTrainLoop": ContinuedIterLoop}


def continued_loop(loop: BaseLoop | Mapping[str, Any]) -> BaseLoop | dict[str, Any]:
    """The config of a training loop with one of the above in the place of mmengine's."""
    if isinstance(loop, BaseLoop):
        return loop
    settings = dict(loop)
    if "by_epoch" in settings:
        settings["type"] = "EpochBasedTrainLoop" if settings.pop("by_epoch") else "IterBasedTrainLoop"
    return {**settings, "type": CONTINUED.get(settings["type"], settings["type"])}


def evaluation_is_due(loop: BaseLoop) -> bool:
    """Whether an evaluation belongs to the point that a training by epochs or iterations has reached."""
    if isinstance(loop, EpochBasedTrainLoop):
        done, end = loop.epoch, loop.max_epochs
        if loop.runner.record.images:
            return False
    else:
        done, end = loop.iter, loop.max_iters
    loop._decide_current_val_interval()
    return done > 0 and done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
