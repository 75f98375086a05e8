"""Saving checkpoints so that a kill at any moment leaves a whole one, and the record of which is the last."""

from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from brs_detr.engine import atomic


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's hook removes the outdated checkpoint before it writes the new one; this one after."""

    best_ckpt_path: str | None

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
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
        if is_main_process():
            atomic.write_text(Path(runner.work_dir, "last_checkpoint"), self.last_ckpt)
        if self.max_keep_ckpts > 0:
            for outdated in kept[: -self.max_keep_ckpts]:
                self._remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated)))
            self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts :])  # a deque of this length

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best or len(self.key_indicators) != 1:  # none, or several: mmengine's order of doing things
            super()._save_best_checkpoint(runner, metrics)
            return
        outdated, self.best_ckpt_path = self.best_ckpt_path, None
        super()._save_best_checkpoint(runner, metrics)
        if self.best_ckpt_path is None:
            self.best_ckpt_path = outdated
        elif outdated:
            self._remove(outdated)

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
