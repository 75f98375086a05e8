"""mmengine's runner with this project's checkpoints and console."""

from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner as MMEngineRunner

from brs_detr.engine import console
from brs_detr.errors import InputError
from brs_detr.weights import load_content, read_checkpoint, skip_pretrained


class Runner(MMEngineRunner):
    """Loads a checkpoint whole or not at all, and says what does not fit."""

    new_classes = False  # whether loaded weights may belong to another number of classes

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        console.quieten(logger)
        return logger

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
        self._has_loaded = True
        self.logger.info(f"{filename}\n{report}")
        return content

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        content = read_checkpoint(filename)
        if absent := [key for key in ("meta", "message_hub", "optimizer") if key not in content]:
            raise InputError(
                f"The checkpoint {filename} cannot be resumed, it has no {absent[0]}: start from its weights "
                "with --load-from instead."
            )
        super().resume(filename, *args, **kwargs)
