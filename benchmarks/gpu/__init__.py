"""Everything that only a GPU can tell, by one command: see `__main__`.

parts ──> cases ──> schedule: what fits the time left ──> isolation: a process for each case ──> rows
                                                                                                  │
                         summary: a paragraph <── results: gpu.json, a page of tables a part <────┘
"""

import brs_detr.registry  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them
