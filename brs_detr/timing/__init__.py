"""Times the loss step of training, head by head: what exact, bucketed and pairwise ranking and focal loss cost.

config ──> run: one step of the model, or of its `stand_in` ──> recording: calls of `loss_cls`, a case for each method
                                                                                                 │
                       display: table, chart <── report: rows with shares, CSV, JSON <── measuring: time, memory, waits

Beside it `loss_time`: the seconds that every iteration of a training spends in its losses.
"""

import brs_detr.ops  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them
