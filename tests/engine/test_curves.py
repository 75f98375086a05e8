"""curves.png from the scalars of one or several runs."""

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brs_detr.engine.progress import curves
from brs_detr.engine.progress.curves import Rows, draw_curves, read_scalars
from brs_detr.engine.progress.loss_parts import loss_parts


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


def test_lines_that_were_cut_short_are_passed_over(tmp_path: Path) -> None:
    """As by a disk that was full, before a training is continued."""
    write_run(tmp_path, "20260101_000000", [{"loss": 1.0, "step": 1}])
    with (tmp_path / "20260101_000000" / "vis_data" / "scalars.json").open("ab") as file:
        file.write(b'{"loss": 2.0, "st\n\0\0\0\n\xff\n[3]\n{"loss": 3.0}\n')
    write_run(tmp_path, "20260102_000000", [{"loss": 4.0, "step": 2}])
    assert {step: row["loss"] for step, row in read_scalars(tmp_path)[0].items()} == {1: 1.0, 2: 4.0}
    assert draw_curves(tmp_path)


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


def test_parts_are_sums_over_heads_and_layers() -> None:
    """Boxes before balancing, where there is that; neither the total nor seconds."""
    row = {"loss": 9.0, "roi.loss_rank": 5.0, "loss_rank": 1.0, "loss_bbox": 1.0, "bbox_unscaled": 0.25, "loss_time": 7}
    row |= {"d0.loss_rank": 1.0, "d0.loss_bbox": 1.0, "d0.bbox_unscaled": 0.5, "lr": 0.1, "loss_rpn_sort": 0.125}
    assert loss_parts(row) == {"ranking": 7.0, "sorting": 0.125, "boxes": 0.75}
    row = {"loss": 4.0, "dn_loss_cls": 1.0, "loss_cls": 2.0, "loss_iou": 0.5, "loss_mask": 0.25, "loss_centerness": 0.1}
    assert loss_parts(row) == {"classification": 3.0, "boxes": 0.5, "masks": 0.25, "other": 0.1}


def test_gaps_one_epoch_and_no_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Legends stand beside the axes, and the axis of AP ends above the best."""
    figures: list[Figure] = []
    monkeypatch.setattr(curves, "Figure", lambda **style: figures.append(Figure(**style)) or figures[-1])
    rows = [{"loss": math.nan if step == 2 else 3.0, "loss_rank": 1.0, "lr": 0.1, "step": step} for step in (1, 2, 3)]
    write_run(tmp_path, "a", rows)
    assert draw_curves(tmp_path)
    write_run(tmp_path, "b", [{"coco/bbox_mAP": 0.2, "coco/bbox_mAP_50": math.nan, "step": 1}])
    assert draw_curves(tmp_path)
    without, whole = figures
    assert [axes.get_title() for axes in without.axes] == ["losses", "learning rate"]
    assert [axes.get_title() for axes in whole.axes] == ["losses", "evaluation", "learning rate"]
    losses, evaluation, _ = whole.axes
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), [3.0, math.nan, 3.0])
    assert losses.lines[0].get_marker() == "o"  # a line would not show a point alone
    assert 0.2 < evaluation.get_ylim()[1] < 0.3
    for axes in (losses, evaluation):
        assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1
