"""Configs by name: ``brs_detr::brs_detr/brs-detr_r50_1x_coco.py``, wherever the package is installed.

mmengine reads ``_base_ = "PACKAGE::FOLDER/NAME.py"`` from the folder ``.mim/configs`` of a package; here it is a link
to the repository's configs/, which becomes a folder in a wheel.
"""

from functools import cache
from pathlib import Path

import mmdet.registry
from mmengine.config import utils
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from brs_detr.engine.running import trained

PACKAGE = "brs_detr"
CONFIGS = Path(__file__).resolve().parents[2] / ".mim" / "configs"


def register() -> None:
    """Let configs inherit by ``PACKAGE::``, and use what they inherit by ``_base_.NAME``.

    mmengine looks for distributions first, and misses those that are installed as editable. The name of a module leads
    it to the package that runs. It marks ``_base_.NAME`` with the package as scope; scopes are registries, here empty
    ones, which leave all to their parents of mmdet.
    """
    if PACKAGE in MODULE2PACKAGE:
        return
    MODULE2PACKAGE[PACKAGE] = module = f"{PACKAGE}.registry"
    utils.load = cache(utils.load)  # the hundred lists of mmdet's models, read again for every base of mmdet's
    for registry in list(vars(mmdet.registry).values()):
        if isinstance(registry, Registry):
            Registry(registry.name, parent=registry, scope=PACKAGE, locations=[module])


def locate(config: str | Path) -> Path:
    """The file of a config that is given by its path, its name, or the work directory of its training.

    Raises:
        InputError: it is a folder that holds no config, or several.
    """
    name = str(config)
    if Path(name).is_dir():
        return trained.config_in(Path(name))
    return CONFIGS / name.removeprefix(f"{PACKAGE}::") if name.startswith(f"{PACKAGE}::") else Path(name)
