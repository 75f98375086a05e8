"""What an installed wheel does outside of the repository: the losses with torch alone, the detectors with the rest."""

import json
import re
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import brs_detr
from tests.packaging.environments import ROOT, build_wheel, call, distributions, link_packages, make_environment

pytestmark = pytest.mark.slow

LOSSES_ALONE = """
import importlib.util
import torch
from brs_detr.losses import ap_loss, rank_sort_loss

torch.manual_seed(0)
targets = torch.zeros(2000)
targets[:40] = torch.linspace(0.5, 1, 40)
features = torch.randn(2000, 8) + 2 * targets[:, None]
scorer = torch.nn.Linear(8, 1)
optimizer = torch.optim.SGD(scorer.parameters(), lr=0.1)
values = []
for _ in range(50):
    logits = scorer(features).squeeze(1)
    ranking, sorting = rank_sort_loss(logits, targets)
    optimizer.zero_grad()
    (ranking + sorting).backward()
    optimizer.step()
    values.append((ranking + sorting).item())
assert values[-1] < 0.5 * values[0], values
assert ap_loss(scorer(features).squeeze(1), targets) < 0.5
for absent in ("mmdet", "mmengine", "mmcv", "numpy", "torchvision"):
    assert importlib.util.find_spec(absent) is None, absent
"""

CONFIG = """
_base_ = "brs_detr::brs_detr/brs-detr_tiny_digits.py"
model = _base_.model  # with the scope of its package
data = dict(data_root={data!r})
train_dataloader = dict(num_workers=0, persistent_workers=False, batch_size=2, dataset=data)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={data!r} + "/annotations/val.json")
test_evaluator = val_evaluator
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_config(wheel: Path) -> None:
    configs = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.py")}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.removeprefix("brs_detr/.mim/") for name in names if "/.mim/configs/" in name} == configs
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "scripts"))]


def test_the_wheel_holds_the_page_of_the_report(wheel: Path) -> None:
    template = ROOT / "brs_detr" / "engine" / "report" / "template"
    names = zipfile.ZipFile(wheel).namelist()
    assert {path.name for path in template.iterdir()} == {Path(name).name for name in names if "/template/" in name}


def test_losses_with_torch_alone(wheel: Path, tmp_path: Path) -> None:
    packages = link_packages(distributions("torch"), tmp_path / "packages")
    programs = make_environment(tmp_path / "environment", packages, wheel)
    call(programs / "python", "-c", LOSSES_ALONE, cwd=tmp_path)
    assert call(programs / "brs-detr", "--version", cwd=tmp_path).stdout == f"{brs_detr.__version__}\n"
    refused = call(programs / "brs-detr", "train", "config.py", cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert re.fullmatch(r'error: \w+ is not installed: .*`pip install "\.\[detector\]"`\.\n', refused.stderr)


def test_a_training_by_the_name_of_a_config(wheel: Path, tmp_path: Path, digits: Path) -> None:
    packages = Path(metadata.distribution("mmdet").locate_file(""))
    programs = make_environment(tmp_path / "environment", packages, wheel)
    (tmp_path / "mine.py").write_text(CONFIG.format(data=str(digits)))
    installed = call(programs / "python", "-c", "import brs_detr; print(brs_detr.__file__)", cwd=tmp_path).stdout
    assert installed.startswith(str(tmp_path))
    call(programs / "brs-detr", "train", "mine.py", "--epochs", 1, "--work-dir", "work", cwd=tmp_path)
    assert json.loads((tmp_path / "work" / "training.json").read_text())["epochs"] == 1
    named = "brs_detr::brs_detr/brs-detr_tiny_digits.py"
    options = [f"test_dataloader.dataset.data_root={digits}", f"test_evaluator.ann_file={digits}/annotations/val.json"]
    checkpoint = tmp_path / "work" / "epoch_1.pth"
    call(programs / "brs-detr", "test", named, checkpoint, "--out", "out.json", "--cfg-options", *options, cwd=tmp_path)
    assert "bbox_mAP" in json.loads((tmp_path / "out.json").read_text())
