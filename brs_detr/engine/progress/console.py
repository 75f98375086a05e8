"""What the console shows: the training, not the libraries' housekeeping. The log file keeps everything.

On a terminal a progress bar tells the remaining time; elsewhere mmengine's plain lines stay.
"""

import logging
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from threading import Lock
from types import ModuleType

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from pycocotools import coco, cocoeval
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from brs_detr.engine.progress.log_lines import ShortLines, losses_text

# Beginnings of mmengine's messages that fill screens or speak of its own code.
HOUSEKEEPING = (
    "Config:\n",
    "\n----",  # the system's description
    "Hooks will be executed",
    "Distributed training is not used",
    "Exp name:",
    "paramwise_options",
    "Saving checkpoint at",
    "bbox_mAP_copypaste",
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    "`save_param_scheduler` is True but",  # the config has no schedule
    "`resume_param_scheduler` is True but",
    "Resumed iteration number is not divisible",  # no accumulated gradient is lost: loops.py, interim.py
    "Advance dataloader",  # it begins there: loops.py
    "Please make sure that the mlflow server",  # there may be none
    "the monitored metric did not improve",  # said in tuning.py
)
FROZEN = "is skipped since its requires_grad=False"  # the end of a line for each weight that is frozen

WIDE = 110  # columns of a terminal: bar, time left and parts of the loss stand on one line


def silence_third_parties() -> None:
    """Let a program's console show nothing that libraries say about their own code."""
    silence_prints(coco)  # four lines whenever it opens a file
    ignore_warnings()


def ignore_warnings() -> None:
    """Ignore, one by one, the warnings of libraries about their own code that a user can do nothing about."""
    # mmengine asks pkgutil for the compiled operators in a way that Python 3.12 deprecates.
    warnings.filterwarnings("ignore", message=".*find_loader.*", category=DeprecationWarning)
    # mmengine looks up package versions through setuptools, which would like it not to.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    # torch.meshgrid without its indexing argument, in mmdet's priors and positional encodings.
    warnings.filterwarnings("ignore", message=".*torch.meshgrid: in an upcoming release", category=UserWarning)
    # mmdet's own anchor heads read a name that mmdet renamed.
    warnings.filterwarnings("ignore", message=".*`num_anchors` is deprecated", category=UserWarning)
    # mmengine steps its schedulers after its own optimiser wrapper, which torch does not recognise.
    warnings.filterwarnings("ignore", message="Detected call of `(lr_)?scheduler.step", category=UserWarning)


class Quiet:
    """A context in which `ignore_warnings` holds, and after which the filters are as before; for many threads at once.

    Filters belong to the process: the first thread that enters changes them, the last one that leaves puts them back.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.before = Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.before = warnings.catch_warnings()
                self.before.__enter__()
                ignore_warnings()
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.before.__exit__(None, None, None)


quiet = Quiet()


def silence_prints(module: ModuleType) -> None:
    """Let the ``print`` calls of a module, which have no switch, do nothing."""
    vars(module)["print"] = lambda *args, **kwargs: None


class _Housekeeping(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not (message.startswith(HOUSEKEEPING) or message.endswith(FROZEN))


def console_handlers(logger: logging.Logger) -> list[logging.Handler]:
    """The handlers that print, not those that write files."""
    return [handler for handler in logger.handlers if type(handler) is logging.StreamHandler]


def quieten(logger: logging.Logger) -> None:
    """Keep mmengine's housekeeping and long lines off the console, and let a log that cannot be written end the run."""
    for handler in console_handlers(logger):
        handler.addFilter(_Housekeeping())
        handler.setFormatter(ShortLines(handler.formatter))
    for handler in logger.handlers:
        handler.handleError = partial(_raise, handler)  # type: ignore[method-assign]


def _raise(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Pass on the error that a handler meets, in place of its traceback for every line: a closed pipe, a full disk."""
    error = sys.exc_info()[1]
    if not isinstance(error, OSError):
        logging.Handler.handleError(handler, record)
        return
    if error.errno and isinstance(handler, logging.FileHandler):
        error.filename = error.filename or handler.baseFilename
    raise error


def warn(remark: str) -> None:
    """Say something before there is a logger, once for all processes."""
    if is_main_process():
        print(f"warning: {remark}", file=sys.stderr)


def is_terminal() -> bool:
    return sys.stdout.isatty()


@HOOKS.register_module()
class ProgressHook(Hook):
    """Bars for training and evaluation; the lines of the logger go to its file only while they are shown."""

    priority = "LOW"

    def __init__(self) -> None:
        self.bars: Progress | None = None
        self.training: TaskID | None = None
        self.evaluation: TaskID | None = None
        self.levels: dict[logging.Handler, int] = {}

    def before_run(self, runner: Runner) -> None:
        if not (is_terminal() and is_main_process()):
            return
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            speed_estimate_period=120,
        )
        self.bars.start()
        silence_prints(cocoeval)  # its tables; the metrics are printed in one line
        for handler in console_handlers(runner.logger):
            self.levels[handler] = handler.level
            handler.setLevel(logging.WARNING)

    def before_train(self, runner: Runner) -> None:
        if self.bars:
            total, done = runner.max_iters, runner.iter
            self.training = self.bars.add_task("train", total=total, completed=done, status="")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        if self.bars and self.training is not None:
            self.bars.update(
                self.training,
                completed=runner.iter + 1,
                description=f"epoch {runner.epoch + 1}/{runner.max_epochs}",
                status=self._losses(runner),
            )

    def _losses(self, runner: Runner) -> str:
        """The total and, on a terminal with room for it, the parts of the loss."""
        logged = runner.message_hub.log_scalars.items()  # on the host already, for the log
        values = {key.removeprefix("train/"): each.current() for key, each in logged if key.startswith("train/")}
        wide = self.bars is not None and self.bars.console.width >= WIDE
        return losses_text(values if wide else {"loss": values["loss"]})

    def _before_evaluation(self, length: int) -> None:
        if self.bars:
            self.evaluation = self.bars.add_task("evaluate", total=length, status="")

    def before_val_epoch(self, runner: Runner) -> None:
        self._before_evaluation(len(runner.val_dataloader))

    def before_test_epoch(self, runner: Runner) -> None:
        self._before_evaluation(len(runner.test_dataloader))

    def _advance(self) -> None:
        if self.bars and self.evaluation is not None:
            self.bars.advance(self.evaluation)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence | None = None
    ) -> None:
        self._advance()

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence | None = None
    ) -> None:
        self._advance()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self.bars and self.evaluation is not None:
            self.bars.remove_task(self.evaluation)
            values = (f"{key.rpartition('/')[2]} {value:.3f}" for key, value in (metrics or {}).items())
            self.bars.console.print(", ".join(values), highlight=False)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.after_val_epoch(runner, metrics)

    def after_run(self, runner: Runner) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back; also called when the run ends with an error."""
        if self.bars:
            self.bars.stop()
            self.bars = None
        for handler, level in self.levels.items():
            handler.setLevel(level)
        self.levels.clear()


def close_progress(runner: Runner) -> None:
    """Close the bars of a run that may have failed."""
    for hook in runner.hooks:
        if isinstance(hook, ProgressHook):
            hook.close()
