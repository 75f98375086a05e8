"""Method "exact" as Triton kernels: `fused` says in which order, `exact` and `pairwise` what they compute.

samples       passes over all samples: which are positives, how many negatives are in each bucket, the gradient
positives     the positives in order, and the buckets between the break points of H
buckets       N_FP(i) from the buckets' counts, and the buckets' gradients from coefficients
pairs         sums over pairs of positives, and the terms of Rank & Sort Loss
"""

from .buckets import false_positives, fold, heights, tables
from .compiling import BLOCK, blocks, rows_of_pairs, tiles
from .pairs import charge, pair_sums, rank_and_sort
from .positives import arrange, break_points, grid, pad
from .samples import collect, gradient, histogram, put, scan, summarise

NAMES = (
    *("scan", "summarise", "collect", "histogram", "gradient", "put"),
    *("pad", "arrange", "break_points", "grid"),
    *("fold", "heights", "false_positives", "tables"),
    *("pair_sums", "rank_and_sort", "charge"),
)

__all__ = [
    "BLOCK",
    "NAMES",
    "arrange",
    "blocks",
    "break_points",
    "charge",
    "collect",
    "false_positives",
    "fold",
    "gradient",
    "grid",
    "heights",
    "histogram",
    "pad",
    "pair_sums",
    "put",
    "rank_and_sort",
    "rows_of_pairs",
    "scan",
    "summarise",
    "tables",
    "tiles",
]
