"""The model on random images, a checkpoint on real ones, and what cannot be used."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from brs_detr.errors import InputError
from brs_detr.timing import run
from brs_detr.timing.measuring import Effort
from brs_detr.timing.report import TOTAL, Report
from brs_detr.timing.run import Settings
from tests.reference import ROOT

BRS = str(ROOT / "configs" / "brs_detr" / "brs-detr_tiny_digits.py")
BASELINE = str(ROOT / "configs" / "co_detr" / "co-deformable-detr_tiny_digits.py")
QUICK = Effort(1, 0.0)


def settings(**changes: object) -> Settings:
    return Settings(**{"images": 2, "image_size": (96, 128), "effort": QUICK, **changes})


def time_losses(paths: list[str], settings: Settings, options: dict | None = None) -> Report:
    configs = [(path, Config.fromfile(path)) for path in paths]
    for _, config in configs:
        config.merge_from_dict(options or {})
    return run.time_losses(configs, settings)


def check_shares(report: Report) -> None:
    """Of an iteration, which is more than its losses."""
    rows = report.with_totals()
    assert {row.head for row in rows} >= {"bbox_head", "rpn_head", "roi_head.bbox_head", "atss_head", TOTAL}
    for row in rows:
        assert row.share is not None
        assert 0 < row.share < 1
        assert row.measurement.forward.runs >= 1
    assert all(seconds is not None and seconds > 0 for seconds in report.outside.values())


def test_the_model_on_random_images() -> None:
    report = time_losses([BRS, BASELINE], settings(source="model", methods=("exact", "focal")))
    check_shares(report)
    methods = {row.method for row in report.rows if row.config == BRS}
    assert methods == {"exact", "focal"}
    assert {row.method for row in report.rows if row.config == BASELINE} == {"FocalLoss", "CrossEntropyLoss"}


def test_a_checkpoint_on_training_images(digits: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(BRS).model)
    model.init_weights()
    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "model.pth")
    options = {
        "data_root": str(digits),
        "train_dataloader.dataset.data_root": str(digits),
        "train_dataloader.dataset.pipeline.2.scales": [(96, 96)],
    }
    checkpoint = settings(source=str(tmp_path / "model.pth"), methods=("exact",))
    report = time_losses([BRS], checkpoint, options)
    check_shares(report)
    assert report.environment["image_size"] == "as configured"
    sizes = {row.layer: row.positives + row.negatives for row in report.rows}
    assert sizes["encoder proposals"] == 2 * (12 * 12 + 6 * 6 + 3 * 3 + 2 * 2) * 10
    with pytest.raises(InputError, match=r"model\.pth is of another architecture"):
        time_losses([str(ROOT / "tests" / "engine" / "tiny_dino.py")], checkpoint)
    elsewhere = {"train_dataloader.dataset.data_root": str(tmp_path)}
    with pytest.raises(InputError, match=r"annotations/train\.json"):
        time_losses([BRS], checkpoint, elsewhere)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_what_cannot_be_timed(tmp_path: Path) -> None:
    no_loss = write(tmp_path / "resnet.py", "model = dict(type='ResNet', depth=18, out_indices=(0,))")
    cases = [
        (no_loss, {}, r"resnet\.py has no classification loss to time"),
        (write(tmp_path / "empty.py", "seed = 0"), {}, r"empty\.py describes no model"),
        (BRS, {"source": "missing.pth"}, r"The checkpoint missing\.pth does not exist"),
        (BRS, {"device": "bicycle"}, "--device bicycle is not a device"),
        (BRS, {"images": 0}, "--images needs at least 1"),
        (BRS, {"image_size": (8, 8)}, "--image-size needs at least 32 pixels"),
        (BRS, {"delta": -1.0}, "--delta"),
    ]
    for config, changes, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            time_losses([config], settings(**changes))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu() -> None:
    with pytest.raises(InputError, match="--device cuda needs a GPU"):
        time_losses([BRS], settings(device="cuda"))


def test_an_interruption_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(*args: object) -> object:
        if len(measured) == 5:
            raise KeyboardInterrupt
        measured.append(original(*args))
        return measured[-1]

    original = run.measure
    monkeypatch.setattr(run, "measure", measure)
    report = time_losses([BRS, BASELINE], settings())
    assert report.interrupted
    assert [row.measurement for row in report.rows] == measured
    assert not report.outside
