"""A small ranking problem, and measurements made up for it."""

import torch

from brs_detr.losses import RankSortLoss
from brs_detr.timing.measuring import Measurement, Times
from brs_detr.timing.recording import Problem, RankingCall
from brs_detr.timing.report import Report, Row


def ranking_call(problems: int = 2, delta: float = 0.5) -> RankingCall:
    generator = torch.Generator().manual_seed(0)
    made = []
    for layer in range(problems):
        targets = torch.zeros(500)
        targets[:20] = 0.1 + 0.9 * torch.rand(20, generator=generator)
        targets[20:50] = -1
        logits = torch.randn(500, generator=generator).requires_grad_()
        made.append(Problem(f"layer {layer}", (logits, targets)))
    return RankingCall("head", RankSortLoss(delta=delta, loss_weight=2.0), made, together=problems > 1)


def row(head: str, method: str, milliseconds: float, called: bool = True, config: str = "configs/a.py") -> Row:
    forward = Times(milliseconds, milliseconds / 2, milliseconds * 2, runs=5)
    measurement = Measurement(forward, Times(1.0, 1.0, 1.0, runs=5), 2, 1000)
    return Row(config, head, "layer", method, 3, 97, measurement, called)


def report() -> Report:
    """Two heads by two methods, and a config that does not rank; the second config was run as a whole."""
    times = {("a", "exact"): 1.0, ("a", "pairwise"): 99.0, ("b", "exact"): 3.0, ("b", "pairwise"): 199.0}
    rows = [row(head, method, time) for (head, method), time in times.items()]
    rows.insert(0, row("a", "exact", 50.0, called=False))
    rows.append(row("a", "FocalLoss", 4.0, config="configs/b.py"))
    environment = {"device": "CPU", "threads": 1, "torch": torch.__version__, "mmdet": "3.3.0", "seed": 0}
    return Report(environment, rows, {"configs/a.py": None, "configs/b.py": 0.005})
