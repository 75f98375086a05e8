"""From a checkpoint back to a training: which one, with which seed, and at which learning rate."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from brs_detr.engine.running import work_dir
from brs_detr.engine.running.batches import counted
from brs_detr.engine.running.record import Record, global_batch, images_per_iteration
from brs_detr.engine.running.schedules import Schedule
from brs_detr.errors import CheckpointError, InputError
from brs_detr.weights import read_checkpoint

LAST = "last"  # --resume without a file
AUTO = "auto"  # the same, and --load-from counts until there is a checkpoint
CONFIGS = r".+\.(py|ya?ml|json)"
TEMPORARY = re.compile(  # as files.whole_file names them
    rf"\.({work_dir.WRITTEN_BY_TRAINING.pattern}|{CONFIGS})-[0-9a-f]{{8}}"
)


def find_checkpoint(folder: str | Path, resume: str) -> tuple[Path | None, list[str]]:
    """The checkpoint to continue from, None where there is none yet, and remarks.

    resume: a file, LAST or AUTO: the newest whole one of the folder.

    Raises:
        InputError: the file cannot be read, or there are checkpoints in the folder and none of them is whole.
    """
    if resume not in (LAST, AUTO):
        read_checkpoint(resume)
        return Path(resume), []
    remarks: list[str] = []
    for path in newest_first(folder):
        try:
            read_checkpoint(path)
            return path, remarks
        except CheckpointError as error:
            remarks.append(f"{error} It is skipped.")
    if remarks:
        raise InputError(
            f"No checkpoint in {folder} is whole: {' '.join(remarks)} Remove them to begin again, or name a checkpoint "
            "with --resume CHECKPOINT."
        )
    return None, [f"No checkpoint in {folder} yet: training starts from the beginning."]


def continued(folder: str | Path, resume: str | None) -> Path | None:
    """The work directory of the training that --resume continues, None where there is none yet."""
    if resume in (LAST, AUTO):
        return Path(folder) if work_dir.checkpoints(folder) else None
    return Path(resume).parent if resume else None


def newest_first(folder: str | Path) -> list[Path]:
    """The checkpoints of a training: those written after the noted one, that one, and the others.

    The note is written after its checkpoint, and a kill may come between. A copy of the folder may have other times, so
    that a later one must be further, too.
    """
    found, noted = work_dir.checkpoints(folder), work_dir.noted(folder)
    if noted is None:
        return found
    later = [path for path in found[: found.index(noted)] if reached(path) > reached(noted)]
    return [*later, noted, *(path for path in found if path not in (*later, noted))]


def reached(path: Path) -> float:
    """The iteration of a checkpoint, infinite for one that cannot be read."""
    try:
        meta = read_checkpoint(path).get("meta")
    except CheckpointError:
        return math.inf
    iteration = meta.get("iter") if isinstance(meta, Mapping) else None
    return iteration if isinstance(iteration, int) else -1


def check_options(resume: str | None, load_from: str | None, minutes: float | None) -> None:
    """Raises InputError if options contradict each other, or make no sense."""
    if load_from == "":
        raise InputError("--load-from needs a checkpoint, and was given an empty name.")
    if load_from and resume not in (None, AUTO):
        raise InputError(
            "--load-from starts from weights, and --resume continues a training: give one of them, or --resume auto, "
            "which starts from the weights until there is a checkpoint to continue from."
        )
    if minutes is not None and not minutes >= 0:
        raise InputError("--checkpoint-minutes needs a number of minutes, 0 for a checkpoint after every iteration.")


def after_restart(resume: str | None, overwrite: bool) -> tuple[str | None, bool]:
    """What --resume and --overwrite say now: where torchrun starts processes again, they continue their training."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) and resume is None:
        return AUTO, False
    return resume, overwrite


def forget_continued(config: Config, options: Mapping[str, Any]) -> list[str]:
    """Let a config no longer name a checkpoint to continue from, as earlier versions left them, and say so.

    options: of the command line, which count.
    """
    if not config.get("resume") or "resume" in options:
        return []
    named, config.resume, config.load_from = config.get("load_from"), False, options.get("load_from")
    return [f"The config asks to resume {named or 'a training'}, which is left aside: --resume CHECKPOINT does that."]


def continue_from(runner: Runner, checkpoint: Path | None) -> None:
    """Let a runner continue from a checkpoint. Its config, which is written already, does not name it."""
    if checkpoint is not None:
        runner._load_from, runner._resume = str(checkpoint), True


def sweep(folder: str | Path) -> None:
    """Remove the unfinished files that a killed training has left in its work directory."""
    for path in Path(folder).glob(".*"):
        if TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


def restore_record(runner: Runner) -> Record:
    """The record of the training that a runner continues, a new one otherwise, and its seed before any use of it."""
    if not (runner._resume and runner._load_from):
        return Record()
    meta = read_checkpoint(runner._load_from).get("meta") or {}
    given, seed = runner._randomness_cfg.get("seed"), meta.get("seed")
    if isinstance(seed, int):
        if given is not None and given != seed:
            runner.logger.warning(f"The checkpoint's seed {seed} goes on, the given one {given} is left aside.")
        runner._randomness_cfg["seed"] = seed
        runner.set_randomness(**runner._randomness_cfg)
    return Record.of(meta)


def check_optimizer(runner: Runner, content: Mapping[str, Any], filename: str) -> None:
    """Raises InputError where a checkpoint's optimizer has other groups of weights than the runner's.

    mmengine makes a group of each weight that learns where the config has a paramwise_cfg.
    """
    both = content["optimizer"]["param_groups"], runner.optim_wrapper.optimizer.param_groups
    saved, here = ([len(group["params"]) for group in groups] for groups in both)
    if saved != here:
        remedy = _to_match(len(saved), len(here), bool(runner.cfg.get("freeze_backbone")))
        groups = counted(len(saved), "group")
        raise InputError(
            f"The checkpoint {filename} cannot be resumed: its optimizer has {groups} of weights, and this training's "
            f"{len(here)}. {remedy}, or start from its weights with --load-from instead."
        )


def _to_match(saved: int, here: int, frozen: bool) -> str:
    """What makes an optimizer one of as many groups as was saved."""
    if frozen and saved > here:
        return "Leave out --freeze-backbone if it was trained without"
    if not frozen and saved < here:
        return "Give --freeze-backbone again if it was trained with it"
    return "Give optim_wrapper.paramwise_cfg as it was trained"


def learning_rates(optimiser: OptimWrapper) -> list[float]:
    """Of each parameter group, before any schedule."""
    return [group.get("initial_lr", group["lr"]) for group in optimiser.param_groups]


def compare_with_checkpoint(runner: Runner, configured: list[float]) -> None:
    """Say where a continued training's global batch is another, and go on with the learning rate that it has now.

    configured: the learning rates before the checkpoint was loaded.
    """
    changed = configured != learning_rates(runner.optim_wrapper)
    before, batch = runner.record.global_batch, global_batch(runner)
    if before not in (0, batch):
        said = f"The checkpoint was trained with {before} images a step, and this training goes on with {batch}"
        scaled = runner.optim_wrapper.optimizer.defaults["lr"] * batch / before
        offer = f"in proportion it would be --cfg-options optim_wrapper.optimizer.lr={scaled:g}"
        runner.logger.warning(f"{said}." if changed else f"{said}. The learning rate is the same; {offer}")
    if changed:
        _adopt(runner, configured)


def follow_config(runner: Runner, configured: Schedule, states: Sequence[Mapping[str, Any]]) -> None:
    """Go on by the config's schedule where the checkpoint was trained by another one, and say so.

    configured: before the checkpoint was loaded. states: of the checkpoint's schedulers.
    """
    if configured.is_that_of(states):
        return
    if names := configured.by_evaluations:
        runner.logger.warning(
            f"The config's schedule of the learning rate is not the checkpoint's, which goes on: {names[0]} goes by "
            "evaluations that are over. To follow the config's, start from the weights with --load-from."
        )
        return
    before = runner.optim_wrapper.param_groups[-1]["lr"]  # the last group is mmengine's own, with the config's rate
    configured.replay(runner, *position(runner))
    now = runner.optim_wrapper.param_groups[-1]["lr"]
    runner.logger.warning(
        f"The learning rate follows the config's schedule, which is not the checkpoint's: it is {now:g} now, and was "
        f"{before:g}."
    )


def position(runner: Runner) -> tuple[int, int, int]:
    """Epochs and iterations that are done, and the iterations of an epoch, as this training counts them.

    Its epochs may be of other lengths than those of the checkpoint. A loop of iterations has no epochs.
    """
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        return 0, runner.iter, max(1, runner.max_iters)
    loader = runner.train_dataloader
    done = runner.record.images // images_per_iteration(loader)
    return runner.epoch, runner.epoch * len(loader) + done, len(loader)


def _adopt(runner: Runner, configured: list[float]) -> None:
    """Change the learning rate of each parameter group in proportion, and that of the schedules."""
    loaded = learning_rates(runner.optim_wrapper)
    ratios = [new / old if old else 1.0 for new, old in zip(configured, loaded, strict=True)]
    for group, ratio in zip(runner.optim_wrapper.param_groups, ratios, strict=True):
        group.update({name: group[name] * ratio for name in ("lr", "initial_lr") if name in group})
    for scheduler in runner.param_schedulers or []:
        if scheduler.param_name == "lr":
            scheduler.base_values = learning_rates(runner.optim_wrapper)
    runner.logger.warning(f"The learning rate is {ratios[0]:g} times the checkpoint's, as the config says.")
