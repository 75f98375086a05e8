"""Checkpoints of a training: a kill at any moment leaves a whole one, and what is loaded fits or is refused."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import barrier, is_main_process, master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop
from mmengine.runner import Runner as MMEngineRunner
from torch import nn
from torch.utils.data import DataLoader

from brs_detr.data.samples import collate, taught
from brs_detr.engine.progress import console
from brs_detr.engine.running import resuming, schedules, tuning, work_dir
from brs_detr.engine.running.calibrating import CalibrationHook
from brs_detr.engine.running.divergence import DivergenceHook, check_weights
from brs_detr.engine.running.interim import InterimCheckpointHook, Saved, accumulates
from brs_detr.engine.running.loops import continued_loop
from brs_detr.engine.running.preemption import protect_worker
from brs_detr.engine.running.record import Record, RecordHook
from brs_detr.engine.running.seeding import SeedingHook, seeded_loader
from brs_detr.errors import InputError, printable
from brs_detr.files import write_bytes, write_text
from brs_detr.heads.together import rank_together
from brs_detr.weights import load_content, read_checkpoint, skip_pretrained

WORKERS = ("persistent_workers", "prefetch_factor", "multiprocessing_context")  # torch refuses them without workers


class WholeFileBackend(LocalBackend):
    """mmengine's local files, written whole: its checkpoints pass through here."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_bytes(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        write_bytes(filepath, obj.encode(encoding))


def write_whole_files() -> None:
    """Let mmengine write every local file whole."""
    register_backend("local", WholeFileBackend, force=True, prefixes="")


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's hook removes the outdated checkpoint before it writes the new one; this one after."""

    best_ckpt_path: str | None = None
    postponed = False

    def before_train(self, runner: MMEngineRunner) -> None:
        """The best checkpoint to be replaced is this folder's; that of the folder which is continued here stays."""
        super().before_train(runner)
        self.best_ckpt_path = self._in_this_folder(self.best_ckpt_path)
        for key, path in getattr(self, "best_ckpt_path_dict", {}).items():
            self.best_ckpt_path_dict[key] = self._in_this_folder(path)

    def _in_this_folder(self, best: str | None) -> str | None:
        path = best and self.file_backend.join_path(self.out_dir, os.path.basename(best))
        return path if path and self.file_backend.isfile(path) else None

    def every_n_train_iters(self, runner: MMEngineRunner, n: int, start: int = 0) -> bool:
        """Every n iterations, or the first one after that whose gradients are used up."""
        due = self.postponed or super().every_n_train_iters(runner, n, start)
        self.postponed = due and accumulates(runner)
        return due and not self.postponed

    def _save_checkpoint_with_step(self, runner: MMEngineRunner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        if self.max_keep_ckpts > 0:
            kept = [s for s in self.keep_ckpt_ids if s != step] + [step]
            runner.message_hub.update_info("keep_ckpt_ids", kept)  # a resumed run removes those beyond the limit
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        barrier()  # whichever process fails next, the checkpoint is written
        if self.max_keep_ckpts > 0:
            for outdated in kept[: -self.max_keep_ckpts]:
                self._remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated)))
            self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts :])  # a deque of this length

    def _save_best_checkpoint(self, runner: MMEngineRunner, metrics: dict) -> None:
        if not self.save_best or len(self.key_indicators) != 1:  # none, or several: mmengine's order of doing things
            super()._save_best_checkpoint(runner, metrics)
            return
        outdated, self.best_ckpt_path = self.best_ckpt_path, None
        super()._save_best_checkpoint(runner, metrics)
        if self.best_ckpt_path is None:
            self.best_ckpt_path = outdated
        elif outdated and outdated != self.best_ckpt_path:  # a loop of iterations names all of them by its epoch 0
            self._remove(outdated)

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)


class Runner(MMEngineRunner):
    """mmengine's runner, which loads a checkpoint whole or not at all, and neither saves nor scores what diverged."""

    new_classes = False  # whether loaded weights may belong to another number of classes
    record: Record  # of the training
    saved: Saved | None = None
    outdated: Sequence[Path] = ()  # of an earlier training in the work directory, which is to be discarded
    _train_dataloader: Any

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        console.quieten(logger)
        return logger

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """None takes away any of them, not only mmengine's own."""
        self._kinds = {each["type"] for each in (hooks or {}).values() if isinstance(each, dict)}
        own = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
        super().register_default_hooks({k: v for k, v in (hooks or {}).items() if v is not None or k in own})

    def register_custom_hooks(self, hooks: list) -> None:
        """Beside the default ones; a config of before these were default may list one of them again."""
        super().register_custom_hooks(
            [each for each in hooks if not isinstance(each, dict) or each["type"] not in self._kinds]
        )

    def build_param_scheduler(self, scheduler: Any) -> Any:
        return super().build_param_scheduler(schedules.with_short_warm_up(scheduler, self.max_iters))

    def register_hooks(self, *args: Any, **kwargs: Any) -> None:
        super().register_hooks(*args, **kwargs)
        for hook in (DivergenceHook(), RecordHook(), SeedingHook(), CalibrationHook()):
            self.register_hook(hook)
        self.register_hook(InterimCheckpointHook(self.cfg.get("checkpoint_minutes")))

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args: Any, **kwargs: Any) -> DataLoader:
        """A data loader whose workers are protected from signals, and whose samples a model can take."""
        if isinstance(dataloader, dict):
            own = {"worker_init_fn": dict(type=protect_worker), "collate_fn": dict(type=collate)}
            dataloader = own | dataloader
            unused = WORKERS if not dataloader.get("num_workers") else ()
            for name in ("disable_subprocess_warning", *unused):  # the first goes with mmengine's own worker_init_fn
                dataloader.pop(name, None)
        return MMEngineRunner.build_dataloader(dataloader, *args, **kwargs)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        rank_together(model)
        if self.cfg.get("freeze_backbone"):  # before a wrapper asks which weights have gradients
            tuning.freeze(model.get_submodule("backbone"))
        return super().wrap_model(model_wrapper_cfg, model)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        self.record = resuming.restore_record(self)
        loader = {"collate_fn": dict(type=collate, objects=taught(self.model)), **self._train_dataloader}
        self._train_dataloader = seeded_loader(loader, self.seed)
        built = super().build_train_loop(continued_loop(loop))
        if not len(built.dataloader):
            raise InputError(
                f"train_dataloader gives no batch: its {len(built.dataloader.dataset)} images do not fill one of "
                f"{built.dataloader.batch_sampler.batch_size}, and drop_last leaves away what is not full. Lower "
                "train_dataloader.batch_size, or set drop_last=False."
            )
        return built

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_val_loop(loop)
        if len(built.dataloader.dataset):
            collate([built.dataloader.dataset[0]])  # a pipeline that lacks a step says so before an epoch is spent
        return built

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        if remark := check_weights(self.model):
            self.logger.warning(remark)
        super().save_checkpoint(out_dir, filename, *args, **kwargs)
        meta = kwargs.get("meta")
        if meta and kwargs.get("save_optimizer", True):
            self._note_saved(Path(out_dir, filename), meta["iter"])

    @master_only
    def dump_config(self) -> None:
        """mmengine's, written whole."""
        name = os.path.basename(self.cfg.filename or f"{self.timestamp}.py")
        write_text(Path(self.work_dir, name), self.cfg.dump())

    def _init_model_weights(self) -> None:
        """No download of a backbone's weights that the checkpoint is about to replace."""
        if self._load_from or self._resume:
            skip_pretrained(self.model)
        super()._init_model_weights()

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | torch.device = "cpu",
        strict: bool = False,
        revise_keys: list | None = None,
    ) -> dict[str, Any]:
        content = read_checkpoint(filename, map_location)
        self.call_hook("after_load_checkpoint", checkpoint=content)
        report = load_content(self.model, content, filename, whole=not self.new_classes)
        if self._resume:
            resuming.check_optimizer(self, content, filename)
        self._has_loaded = True
        self.logger.info(f"{printable(str(filename))}\n{report}")
        return content

    def load_or_resume(self) -> None:
        """All is built then and the weights fit, so that nothing is discarded for a training that cannot begin."""
        super().load_or_resume()
        if is_main_process():
            work_dir.discard(self.outdated)

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        content = read_checkpoint(filename)
        if absent := [key for key in ("meta", "message_hub", "optimizer") if key not in content]:
            raise InputError(
                f"The checkpoint {filename} cannot be resumed, it has no {absent[0]}: start from its weights "
                "with --load-from instead."
            )
        rates, schedule = resuming.learning_rates(self.optim_wrapper), schedules.Schedule.of(self)
        super().resume(filename, *args, **kwargs)
        resuming.compare_with_checkpoint(self, rates)
        resuming.follow_config(self, schedule, content.get("param_schedulers") or [])
        if Path(filename).parent.resolve() == Path(self.work_dir).resolve():
            self._note_saved(Path(filename), self.iter)
        if self.iter >= self.max_iters:
            self.logger.warning(f"{printable(filename)} has all {self.max_iters} iterations: --epochs trains for more.")

    def _note_saved(self, path: Path, iteration: int) -> None:
        self.saved = Saved(path, iteration, self.record.evaluated)
        if is_main_process():
            work_dir.note(self.work_dir, path)


class Evaluator(Runner):
    """Evaluates only: the config that a training left in its work directory stays as it is."""

    def dump_config(self) -> None:
        pass
