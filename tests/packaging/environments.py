"""A wheel of the working tree, and virtual environments that see a part of the running one's packages: no download."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("brs_detr", "configs", "pyproject.toml", "README.md", "LICENSE")


def call(*command: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run a command that must not find the repository by PYTHONPATH."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=variables | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def build_wheel(folder: Path) -> Path:
    """The wheel, built from a copy: setuptools leaves files beside its sources, and reads what it left before."""
    for name in SOURCES:
        source, copy = ROOT / name, folder / "source" / name
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index")
    call(*pip, "--wheel-dir", folder, folder / "source", cwd=folder)
    return next(folder.glob("*.whl"))


def distributions(name: str, extras: tuple[str, ...] = ("",), found: set[str] | None = None) -> set[str]:
    """The names of an installed distribution and of all that it requires."""
    found = set() if found is None else found
    found.add(name)
    for line in metadata.requires(name) or []:
        required = Requirement(line)
        wanted = required.marker is None or any(required.marker.evaluate({"extra": extra}) for extra in extras)
        if wanted and required.name not in found:
            distributions(required.name, tuple(required.extras) or ("",), found)
    return found


def link_packages(names: set[str], folder: Path) -> Path:
    """A folder with links to the modules of installed distributions, and to nothing else."""
    folder.mkdir()
    for name in names:
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(distribution.locate_file(top)))
    return folder


def make_environment(folder: Path, packages: Path, wheel: Path) -> Path:
    """A virtual environment with the wheel that also imports from the folder of packages. Returns its programs."""
    call(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    site = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    Path(site, "packages.pth").write_text(f"{packages}\n")
    programs = folder / "bin"
    call(programs / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=folder.parent)
    return programs
