"""curves.png from the scalars of one or several runs."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
from matplotlib.axes import Axes

from brs_detr.engine import curves
from brs_detr.engine.curves import Rows, draw_curves, read_scalars, telling_losses


def write_run(work_dir: Path, name: str, rows: list[dict]) -> None:
    folder = work_dir / name / "vis_data"
    folder.mkdir(parents=True)
    (folder / "scalars.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_resumed_run_continues_the_curves(tmp_path: Path) -> None:
    first = [{"loss": 9.0 - step, "loss_cls": 1.0, "step": step} for step in (1, 2, 3)]
    second = [{"loss": 5.0 - step, "loss_cls": 0.5, "step": step} for step in (3, 4)]
    write_run(tmp_path, "20260101_000000", [*first, {"coco/bbox_mAP": 0.1, "step": 1}])
    write_run(tmp_path, "20260102_000000", [*second, {"coco/bbox_mAP": 0.3, "step": 2}])
    training, evaluation = read_scalars(tmp_path)
    assert [training[step]["loss"] for step in sorted(training)] == [8.0, 7.0, 2.0, 1.0]
    assert [evaluation[step]["coco/bbox_mAP"] for step in sorted(evaluation)] == [0.1, 0.3]
    assert draw_curves(tmp_path)
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape[1] > picture.shape[0] > 300
    assert picture.std() > 10


LVIS = {"lvis/bbox_AP": 0.2, "lvis/bbox_AP50": 0.4, "lvis/bbox_AP75": 0.1, "lvis/segm_AP": 0.15, "lvis/bbox_APr": 0.0}


def test_ap_of_any_data_set_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[float]] = {}
    plot = curves.plot

    def noted(axes: Axes, rows: Rows, key: str, label: str, **style: Any) -> None:
        plot(axes, rows, key, label, **style)
        drawn[label] = list(axes.lines[-1].get_ydata())

    monkeypatch.setattr(curves, "plot", noted)
    write_run(tmp_path, "20260101_000000", [{"loss": 1.0, "step": 1}, LVIS | {"step": 1}, LVIS | {"step": 2}])
    assert draw_curves(tmp_path)
    drawn.pop("total")
    assert drawn == {"AP": [0.2, 0.2], "AP50": [0.4, 0.4], "AP75": [0.1, 0.1], "mask AP": [0.15, 0.15]}


def test_an_evaluation_without_ap_is_no_row_of_the_curves(tmp_path: Path) -> None:
    write_run(tmp_path, "20260101_000000", [{"loss": 1.0, "step": 1}, {"data_time": 0.1, "step": 1}])
    assert read_scalars(tmp_path)[1] == {}


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert not draw_curves(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_balanced_loss_is_drawn_as_it_was_before() -> None:
    row = {"loss": 9.0, "roi.loss_rank": 5.0, "loss_rank": 1.0, "loss_bbox": 1.0, "bbox_unscaled": 0.2}
    row |= {"d0.loss_rank": 1.0, "d0.loss_bbox": 1.0, "d0.bbox_unscaled": 0.3, "lr": 0.1}
    assert telling_losses(row) == ["loss_rank", "bbox_unscaled", "roi.loss_rank"]


def test_seconds_are_no_loss() -> None:
    assert telling_losses({"loss": 9.0, "loss_rank": 1.0, "loss_time": 7.0}) == ["loss_rank"]
