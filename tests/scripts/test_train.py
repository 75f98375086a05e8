"""Training as users start it: in two processes, killed and resumed, and with input that cannot be used."""

import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from brs_detr.engine import launch
from brs_detr.engine.running import work_dir
from brs_detr.engine.train_options import TrainOptions
from brs_detr.errors import InputError
from brs_detr.weights import read_checkpoint
from tests.scripts.processes import forked, run, start, write_config


@pytest.fixture
def config(tmp_path: Path, digits: Path) -> Path:
    return write_config(tmp_path, digits)


def test_two_processes_end_with_the_same_parameters(tmp_path: Path, config: Path) -> None:
    result = run(tmp_path, "dist_train.sh", config, 2, "--work-dir", "work", "--epochs", 1, "--seed", 3)
    assert result.returncode == 0, result.stderr
    number = r"\d[\d.e-]*"
    parts = "  ".join(f"{name}: {number}" for name in ("loss", "classification", "boxes"))
    line = rf"(Epoch\(train\) \[1\]\[1/2\])  {parts}  loss_time: {number} s  lr: {number}  left: 0:00:\d\d\n"
    assert len(re.findall(line, result.stdout + result.stderr)) == 1  # the console's, by the first process alone
    (log,) = tmp_path.glob("work/*/*.log")
    assert re.search(r"\[1/2\] .* enc_loss_iou: ", log.read_text())
    states = [torch.load(tmp_path / "work" / f"rank_{rank}.pth") for rank in range(2)]
    saved = read_checkpoint(str(tmp_path / "work" / "epoch_1.pth"))
    assert saved["meta"]["iter"] == 2  # 8 images, 2 a process and step
    assert len(states[0]) > 100
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=0)
        torch.testing.assert_close(saved["state_dict"][name], value, rtol=0, atol=0)


def test_a_killed_training_resumes_and_leaves_what_it_should(tmp_path: Path, config: Path) -> None:
    work = tmp_path / "work"
    process = start(tmp_path, "train.py", config, "--work-dir", work, "--epochs", 1000)
    deadline = time.monotonic() + 120
    while not list(work.glob("epoch_*.pth")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    last, *_ = work_dir.checkpoints(work)
    epoch = read_checkpoint(str(last))["meta"]["epoch"]

    result = run(tmp_path, "train.py", config, "--work-dir", work, "--resume", "--epochs", epoch + 1)
    assert result.returncode == 0, result.stderr
    assert f"resumed epoch: {epoch}," in result.stdout + result.stderr
    assert (work / "last_checkpoint").read_text() == str(work / f"epoch_{epoch + 1}.pth")
    assert read_checkpoint(str(work / f"epoch_{epoch + 1}.pth"))["meta"]["epoch"] == epoch + 1
    assert len(list(work.glob("epoch_*.pth"))) == 1
    assert cv2.imread(str(work / "curves.png")).std() > 10
    assert json.loads((work / "training.json").read_text())["epochs"] == epoch + 1
    assert not Config.fromfile(work / config.name).resume  # it may start another training
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr


def test_bad_input_ends_with_one_sentence(tmp_path: Path, config: Path) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK not really")
    result = forked(tmp_path, "train.py", config, "--load-from", broken)
    assert result.returncode == 2
    assert re.fullmatch(f"error: The checkpoint {broken} is truncated: .*\n", result.stderr), result.stderr
    assert not (tmp_path / "work_dirs").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"resume": "missing.pth"}, r"The checkpoint \S*missing\.pth does not exist\."),
        ({"load_from": "missing.pth"}, r"The checkpoint \S*missing\.pth does not exist\."),
        ({"epochs": 0}, "--epochs needs at least 1"),
        ({"options": {"train_dataloader.dataset.data_root": "nowhere"}}, "The data folder nowhere does not exist"),
        ({"options": {"model.bbox_head.num_classes": 80}}, r"model\.bbox_head\.num_classes = 80, but its data has 10"),
    ],
)
def test_nothing_is_written_for_bad_input(
    tmp_path: Path, config: Path, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        launch.train(str(config), TrainOptions(folder=str(tmp_path / "work"), **arguments))
    assert not (tmp_path / "work").exists()


def test_overwrite_does_not_remove_what_the_config_loads(tmp_path: Path, config: Path) -> None:
    checkpoint = tmp_path / "work" / "epoch_3.pth"
    checkpoint.parent.mkdir()
    torch.save(MODELS.build(Config.fromfile(config).model).state_dict(), checkpoint)
    with pytest.raises(InputError, match=r"--overwrite would remove .*epoch_3"):
        launch.train(
            str(config),
            TrainOptions(folder=str(checkpoint.parent), overwrite=True, options={"load_from": str(checkpoint)}),
        )
    assert checkpoint.exists()


def test_a_missing_config() -> None:
    with pytest.raises(InputError, match=r"The config missing\.py does not exist"):
        launch.train("missing.py")


@pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process
def test_another_architecture_and_other_classes(tmp_path: Path, config: Path, digits: Path) -> None:
    """Weights for other classes start a training; weights of another model do not."""
    model = MODELS.build(Config.fromfile(config).model | {"num_queries": 30})
    torch.save(model.state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth is of another architecture"):
        launch.train(str(config), TrainOptions(folder=str(tmp_path / "refused"), load_from=str(tmp_path / "other.pth")))
    work = tmp_path / "work"
    options = {"model.bbox_head.num_classes": 3} | {
        f"{split}_dataloader.dataset.metainfo.classes": ("1", "2", "3") for split in ("train", "val", "test")
    }
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()  # until then some parameters are whatever the memory held
    torch.save(model.state_dict(), tmp_path / "ten.pth")
    launch.train(
        str(config), TrainOptions(folder=str(work), load_from=str(tmp_path / "ten.pth"), epochs=1, options=options)
    )
    trained = read_checkpoint(str(work / "epoch_1.pth"))["state_dict"]
    assert len(trained["bbox_head.cls_branches.0.bias"]) == 3


def test_an_unreadable_image_is_named(tmp_path: Path, digits: Path) -> None:
    """Found in the middle of training, by a data loader's worker."""
    data = Path(shutil.copytree(digits, tmp_path / "data"))
    image = data / "train" / "000005.png"
    image.write_bytes(image.read_bytes()[:20])
    config = write_config(tmp_path, data)
    workers = "train_dataloader.num_workers=1"
    result = forked(tmp_path, "train.py", config, "--work-dir", "work", "--cfg-options", workers)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"error: The image {image} cannot be read")
