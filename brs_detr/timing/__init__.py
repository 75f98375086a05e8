"""Times the loss step of training, head by head: what exact, bucketed and pairwise ranking and focal loss cost.

config ──> source (shapes, model or checkpoint) ──> recorded calls of `loss_cls` ──> a cell for each method
                                                                                            │
                                            table, CSV, JSON, plot <── rows with shares <───┘
"""
