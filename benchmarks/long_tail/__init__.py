"""A hundred classes, few of them common: is a ranking loss as robust to imbalance as its papers say? See `__main__`.

data: scans of digits ──> numbers of two digits      study: a run ──> training ──> AP of each class ──> CSV, table
"""

import brs_detr.registry  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them
