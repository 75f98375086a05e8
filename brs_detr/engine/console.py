"""What the console shows: the training, not the libraries' housekeeping. The log file keeps everything."""

import logging
import sys
import warnings
from types import ModuleType

from pycocotools import coco

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
)


def silence_third_parties() -> None:
    """Ignore, one by one, the warnings of libraries about their own code that a user can do nothing about."""
    silence_prints(coco)  # four lines whenever it opens a file
    # mmengine asks pkgutil for the compiled operators in a way that Python 3.12 deprecates.
    warnings.filterwarnings("ignore", message=".*find_loader.*", category=DeprecationWarning)
    # mmengine looks up package versions through setuptools, which would like it not to.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    # torch.meshgrid without its indexing argument, in mmdet's priors and positional encodings.
    warnings.filterwarnings("ignore", message=".*torch.meshgrid: in an upcoming release", category=UserWarning)
    # mmdet's own anchor heads read a name that mmdet renamed.
    warnings.filterwarnings("ignore", message=".*`num_anchors` is deprecated", category=UserWarning)
    # mmengine steps its schedulers after its own optimiser wrapper, which torch does not recognise.
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)


def silence_prints(module: ModuleType) -> None:
    """Let the ``print`` calls of a module, which have no switch, do nothing."""
    vars(module)["print"] = lambda *args, **kwargs: None


class _Housekeeping(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(HOUSEKEEPING)


def console_handlers(logger: logging.Logger) -> list[logging.Handler]:
    """The handlers that print, not those that write files."""
    return [handler for handler in logger.handlers if type(handler) is logging.StreamHandler]


def quieten(logger: logging.Logger) -> None:
    """Keep mmengine's housekeeping off the console."""
    for handler in console_handlers(logger):
        handler.addFilter(_Housekeeping())


def is_terminal() -> bool:
    return sys.stdout.isatty()
