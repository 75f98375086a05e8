"""Calibration in checkpoints: of a training, by the command, in an evaluation, and what becomes of it later."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor

from brs_detr.data.calibration import KEY, Calibration
from brs_detr.engine import calibrating, converting, launch
from brs_detr.engine.progress.metrics import may_be_replaced
from brs_detr.engine.train_options import TrainOptions
from brs_detr.errors import InputError
from brs_detr.files import write_bytes
from brs_detr.weights import read_checkpoint
from tests.engine.toy import ToyDetector

pytestmark = pytest.mark.filterwarnings("ignore:.*visualizer has been created")  # mmengine keeps one a process


@MODELS.register_module()
class SeeingToy(ToyDetector):
    """Finds every object, and as much that is none; low scores depend on the weights, and are higher for objects.

    blind: find what is none alone.
    """

    def __init__(self, data_preprocessor: dict, blind: bool = False) -> None:
        super().__init__(data_preprocessor)
        self.blind = blind

    def forward(self, inputs: Tensor, data_samples: list, mode: str = "tensor") -> Any:
        if mode == "loss":
            return super().forward(inputs, data_samples, mode)
        for sample in data_samples:
            truth, (height, _) = sample.gt_instances, sample.ori_shape
            boxes = torch.cat([truth.bboxes + 2 * height * self.blind, truth.bboxes + 2 * height])
            right = torch.arange(len(boxes)) < len(truth.bboxes)
            weight = self.box_head.bias.abs().mean()
            scores = 0.02 + 0.01 * weight + 0.005 * right + 0.006 * torch.linspace(0, 1, len(boxes)).roll(1)
            sample.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=truth.labels.repeat(2))
        return data_samples


@pytest.fixture(scope="module")
def config(toy_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    changed = Config.fromfile(toy_config)
    changed.model = dict(type="SeeingToy", data_preprocessor=changed.model.data_preprocessor)
    changed.custom_imports.imports.append(__name__)
    changed.custom_hooks = []
    changed.train_cfg.max_epochs = 2
    for loader in (changed.val_dataloader, changed.test_dataloader):  # training images are more
        loader.dataset.update(ann_file="annotations/train.json", data_prefix=dict(img="train/"))
    for evaluator in (changed.val_evaluator, changed.test_evaluator):
        evaluator.ann_file = evaluator.ann_file.replace("val.json", "train.json")
    path = tmp_path_factory.mktemp("seeing") / "seeing.py"
    changed.dump(path)
    return path


@pytest.fixture(scope="module")
def trained(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a training."""
    work = tmp_path_factory.mktemp("trained") / "work"
    launch.train(str(config), TrainOptions(folder=str(work)))
    return work


def the_best(work: Path) -> Path:
    (path,) = work.glob("best_*.pth")
    return path


def test_checkpoints_of_a_training_have_the_map_of_their_weights(config: Path, tmp_path: Path) -> None:
    """As plain numbers; another evaluation of the same weights, here averaged ones, fits the same map."""
    work = tmp_path / "work"
    launch.train(str(config), TrainOptions(folder=str(work), average=True))
    kept = []
    for path in (the_best(work), work / "epoch_2.pth"):
        kept.append(read_checkpoint(path)[KEY])
        assert json.loads(json.dumps(kept[-1])) == kept[-1]
        anew = calibrating.calibrate(str(config), str(path), folder=str(tmp_path), out=str(tmp_path / path.name))
        assert anew.as_dict() == kept[-1]
    assert kept[0] != kept[1]  # of other weights


def test_weights_that_were_not_evaluated_have_none(config: Path, trained: Path, tmp_path: Path) -> None:
    """Neither those of a later iteration nor those of a training that starts from a calibrated checkpoint."""
    work = tmp_path / "work"
    options = {"train_cfg.val_interval": 2, "default_hooks.checkpoint.max_keep_ckpts": -1}
    launch.train(str(config), TrainOptions(folder=str(work), load_from=str(the_best(trained)), options=options))
    assert KEY not in read_checkpoint(work / "epoch_1.pth")
    assert KEY in read_checkpoint(work / "epoch_2.pth")


def test_the_command_writes_a_checkpoint_that_can_be_continued(
    trained: Path, program: Callable[..., tuple[int, str, str]]
) -> None:
    last = trained / "epoch_2.pth"
    before, times = read_checkpoint(last), last.stat().st_mtime_ns
    kept = before.pop(KEY)
    last.unlink()  # what was read is mapped to it
    torch.save(before, last)
    os.utime(last, ns=(times, times))
    status, output, errors = program("calibrate", trained, last)
    assert status == 0, errors
    assert f"{last} written, and {trained}/reliability.png\n" in output
    assert f"after (F1 at IoU 0.5)\n{last}" in output
    assert "before, 0." in output
    assert read_checkpoint(last)[KEY] == kept
    assert last.stat().st_mtime_ns == times
    picture = cv2.imread(str(trained / "reliability.png"))
    assert min(picture.shape[:2]) > 600
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    status, _, errors = program("train", trained, "--resume", "--epochs", 3)
    assert status == 0, errors
    assert (trained / "epoch_3.pth").exists()


def test_what_is_replaced_and_what_is_not(config: Path, trained: Path, tmp_path: Path) -> None:
    best = str(the_best(trained))
    (tmp_path / "other.pth").write_text("of the user")
    for out, folder, sentence in (
        (None, tmp_path, "lies outside the work directory"),
        (str(tmp_path / "other.pth"), trained, "exists already: choose another --out"),
        (str(tmp_path / "other.safetensors"), trained, "has no place for a calibration"),
        (str(tmp_path), trained, "no place|is a folder"),
    ):
        with pytest.raises(InputError, match=sentence):
            calibrating.calibrate(str(config), best, folder=str(folder), out=out)
    assert (tmp_path / "other.pth").read_text() == "of the user"
    content = Path(best).read_bytes()
    calibrating.calibrate(str(config), best, folder=str(tmp_path / "elsewhere"), out=best)  # on explicit wish
    assert read_checkpoint(best)[KEY]["threshold"] > 0.1
    write_bytes(best, content)


def test_a_checkpoint_that_a_training_replaces_meanwhile_stays(
    config: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that it removes does not come back."""
    mine = tmp_path / "best_coco_bbox_mAP_epoch_1.pth"

    def replaced_meanwhile(*args: Any) -> Any:
        metrics = run_test(*args)
        write_bytes(mine, later) if later else mine.unlink()
        return metrics

    run_test = launch.run_test
    monkeypatch.setattr(launch, "run_test", replaced_meanwhile)
    for later in (b"of a later epoch", b""):
        shutil.copy(the_best(trained), mine)
        for out in (None, str(tmp_path / "out.pth")):
            with pytest.raises(InputError, match=rf"{mine} was changed or removed while it was calibrated"):
                calibrating.calibrate(str(config), str(mine), folder=str(tmp_path), out=out)
            assert (mine.read_bytes() if mine.exists() else b"") == later
            assert list(tmp_path.glob("*.pth")) == [mine] * bool(later)
            shutil.copy(the_best(trained), mine)


def test_data_on_which_nothing_is_right(config: Path, trained: Path, tmp_path: Path) -> None:
    best, out = the_best(trained), tmp_path / "out.pth"
    options = {"model.blind": True}
    with pytest.raises(InputError, match=r"stays as it is, not calibrated: none of \d+ detections is right"):
        calibrating.calibrate(str(config), str(best), folder=str(tmp_path / "work"), out=str(out), options=options)
    assert not out.exists()
    with pytest.raises(InputError, match="calibrate needs one val_evaluator of type CocoMetricWithThreshold"):
        calibrating.calibrate(
            str(config), str(best), folder=str(tmp_path), out=str(out), options={"val_evaluator.type": "CocoMetric"}
        )


def test_an_evaluation_says_how_good_the_kept_map_is(config: Path, trained: Path, tmp_path: Path) -> None:
    best = the_best(trained)
    content = read_checkpoint(best)
    torch.save({**content, KEY: Calibration((0.0, 1.0), (0.0, 0.5), 0.25).as_dict()}, tmp_path / "halved.pth")
    torch.save({"state_dict": content["state_dict"]}, tmp_path / "bare.pth")
    torch.save({**content, KEY: {"scores": [0, 1], "calibrated": [1, 0], "threshold": 0.5}}, tmp_path / "hostile.pth")
    out = tmp_path / "out" / "metrics.json"

    def evaluated(name: str) -> dict[str, float]:
        metrics = launch.evaluate(str(config), str(tmp_path / name), folder=str(tmp_path / "work"), out=str(out))
        assert json.loads(out.read_text()) == metrics
        assert may_be_replaced(out)
        return metrics

    bare = evaluated("bare.pth")
    assert not {"d_ece_calibrated", "calibrated_score_thr"} & bare.keys()
    assert not out.with_name("reliability.png").exists()
    halved = evaluated("halved.pth")
    assert halved["calibrated_score_thr"] == 0.25
    assert halved["d_ece_calibrated"] > halved["d_ece"] == bare["d_ece"] > 0
    assert out.with_name("reliability.png").exists()
    with pytest.raises(InputError, match=r"hostile\.pth is refused: its calibrated scores do not increase"):
        evaluated("hostile.pth")


def test_conversion_keeps_it(config: Path, trained: Path, tmp_path: Path) -> None:
    content = {"state_dict": {"a": torch.ones(1)}, KEY: read_checkpoint(the_best(trained))[KEY]}
    for name, found in (("a.pth", content[KEY]), ("a.safetensors", None)):
        converting.write_weights(tmp_path / name, content["state_dict"], {}, Calibration.of(content))
        assert read_checkpoint(tmp_path / name).get(KEY) == found
