"""When the stand-in steps in, and when it keeps out of the way: each case in a fresh interpreter."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, *extra_paths: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*extra_paths, ROOT)))}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_stand_in_serves_a_mmcv_without_extension() -> None:
    code = """
import importlib.util
import brs_detr.ops
assert brs_detr.ops.install()
assert importlib.util.find_spec("mmcv._ext").origin.endswith("stand_in.py")
import mmcv.ops
print(mmcv.ops.get_compiler_version())
"""
    assert run(code) == "not compiled"


def test_a_compiled_mmcv_is_left_alone(tmp_path: Path) -> None:
    package = tmp_path / "mmcv"
    (package / "ops").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "ops" / "__init__.py").write_text("from .nms import batched_nms\n")
    (package / "ops" / "nms.py").write_text("def batched_nms(): pass\n")
    (package / "_ext.py").write_text("def nms(*args): return 'compiled'\n")
    code = """
import brs_detr.ops
assert not brs_detr.ops.install()
import mmcv._ext
print(mmcv._ext.nms(), mmcv._ext.__file__)
"""
    assert run(code, tmp_path) == f"compiled {package / '_ext.py'}"


def test_deformops_is_used_on_a_gpu_only_and_may_lack_its_function(tmp_path: Path) -> None:
    """A library of the right name without the expected function must not break anything."""
    (tmp_path / "deformops").mkdir()
    (tmp_path / "deformops" / "__init__.py").write_text("")
    code = """
from brs_detr.ops import deformable_attention
print(deformable_attention._deformops_sampler())
"""
    assert run(code, tmp_path) == "None"


def test_losses_do_not_pull_in_mmdet() -> None:
    code = "import sys, brs_detr; print([m for m in ('mmdet', 'mmcv', 'mmengine') if m in sys.modules])"
    assert run(code) == "[]"


def test_other_operators_name_themselves_and_the_remedy() -> None:
    code = """
import brs_detr.ops, mmcv.ops, torch
try:
    mmcv.ops.nms_match(torch.zeros(2, 5), 0.5)
except brs_detr.ops.MissingOperatorError as error:
    print(error)
"""
    assert re.search(r"'nms_match' needs a compiled mmcv.*pip install 'mmcv>=2.1", run(code))
