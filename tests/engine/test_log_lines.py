"""Training lines: short on the console, whole in the log file."""

import logging

from brs_detr.engine.progress.log_lines import ShortLines, TrainingLine, losses_text


def test_the_console_shows_sums() -> None:
    values = {"loss": 67.7012, "loss_rank": 2.0, "d0.loss_rank": 1.5, "loss_sort": 0.25, "loss_bbox": 9.0}
    values |= {"bbox_unscaled": 0.5, "loss_time": 0.01, "lr": 1e-4}
    assert losses_text(values) == "loss: 67.7  ranking: 3.5  sorting: 0.25  boxes: 0.5"
    assert losses_text({"loss": float("nan")}) == "loss: nan"


def test_only_the_console_is_short() -> None:
    line = TrainingLine("all of it")
    line.short = "the short form"
    record = logging.LogRecord("name", logging.INFO, "file", 1, line, None, None)
    inner = logging.Formatter("%(name)s - %(message)s")
    assert ShortLines(inner).format(record) == "name - the short form"
    assert inner.format(record) == "name - all of it"
    record.msg = "another"
    assert ShortLines(inner).format(record) == "name - another"
