"""Device, driver and versions, without which no number means anything."""

import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch

from brs_detr.timing.report import environment

from .cases import Setting, Value

PACKAGES = ("triton", "deformops", "mmcv")


def described(setting: Setting) -> dict[str, Value]:
    """What the numbers depend on, by name; empty where something is not there."""
    where = environment(setting.torch_device)
    gpus = {"GPUs": torch.cuda.device_count(), "driver": driver(), "CUDA": torch.version.cuda} if setting.on_gpu else {}
    return {
        "device": where["device"],
        **gpus,
        "Python": where["python"],
        "torch": where["torch"],
        "mmdet": where["mmdet"],
        **{name: installed(name) for name in PACKAGES},
        "dry run": setting.small,
    }


def driver() -> str:
    """The version of NVIDIA's driver."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
