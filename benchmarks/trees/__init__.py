"""Real photographs, a pretrained backbone: does what the digits show hold there? See `__main__`.

data: a wheel ──> tiles (preview)      configs: a run ──> study: training ──> results: CSV ──> rate of each loss, table
"""

import brs_detr.registry  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them
