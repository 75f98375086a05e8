"""The figures and the worked example of docs/losses.md, drawn and computed by the package's own code.

    python -m benchmarks.illustrations

Writes docs/figures/{break_points,buckets}.png and prints the example.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from brs_detr.endings import ends_with_a_sentence
from brs_detr.losses import rank_sort_loss
from brs_detr.losses.exact import BreakPoints
from brs_detr.losses.step import SmoothedStep

from .report import destination

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"
STEP = SmoothedStep(0.5)
COLOURS = ("tab:blue", "tab:orange", "tab:green")
EXACT, PUBLISHED = "tab:blue", "tab:red"
VIEW = (-1.9, 2.0)
ROW = "{:<8}  delta = {:<3}  {} {:.4f}  {}"


class Problem(NamedTuple):
    """Logits of a few positives, ascending, and of some negatives; float64."""

    positives: Tensor
    negatives: Tensor

    def samples(self) -> tuple[Tensor, Tensor]:
        """Logits and targets, (P + N,): positives, all of IoU 1, first."""
        logits = torch.cat([self.positives, self.negatives])
        return logits, (torch.arange(len(logits)) < len(self.positives)).double()

    def gradient(self, method: str, delta: float) -> tuple[float, Tensor]:
        """The mean ranking error, and P times its gradient in the negatives' logits, (N,)."""
        logits, targets = self.samples()
        ranking = rank_sort_loss(logits.requires_grad_(), targets, delta=delta, method=method).ranking
        ranking.backward()
        assert logits.grad is not None
        count = len(self.positives)
        return float(ranking.detach()), count * logits.grad[count:]

    def break_points(self) -> BreakPoints:
        positives = self.positives[None]
        return BreakPoints(positives, STEP.positions(positives), STEP, torch.float64)


EXAMPLE = Problem(torch.tensor([0.0]).double(), torch.tensor([-0.3, -0.1, 0.1, 1.9]).double())
SCENE = Problem(
    torch.tensor([-0.9, 0.2, 0.8]).double(),
    torch.tensor([-1.6, -1.25, -1.1, -0.7, -0.45, -0.35, -0.1, 0.05, 0.35, 0.6, 0.7, 0.95, 1.2, 1.5, 1.8]).double(),
)


def draw_break_points(path: Path) -> None:
    """H(x - x_i) of a few positives over x, with the 2P break points and the buckets between them."""
    drawing, (plane,) = _new_figure(1, (8, 3.2))
    x = torch.linspace(*VIEW, 600).double()
    for i, (positive, colour) in enumerate(zip(SCENE.positives, COLOURS, strict=True), start=1):
        plane.plot(x, STEP(x - positive), color=colour, label=f"$H(x - x_{i})$")
        for shift in (-STEP.delta, STEP.delta):
            plane.axvline(positive + shift, color=colour, linewidth=0.8, linestyle=":")
        plane.plot(positive, 0.5, "o", color=colour)
        plane.annotate(f"$x_{i}$", (positive, 0.5), xytext=(6, -10), textcoords="offset points", color=colour)
    edges = [VIEW[0], *SCENE.break_points().thresholds[0].tolist(), VIEW[1]]
    for bucket, (left, right) in enumerate(pairwise(edges)):
        plane.text((left + right) / 2, 1.07, str(bucket), ha="center", fontsize="small")
    plane.text(VIEW[0] - 0.02, 1.07, "bucket", ha="right", fontsize="small")
    plane.set(xlim=VIEW, ylim=(-0.05, 1.18), xlabel="logit $x$", ylabel="$H$, for $\\delta = 0.5$")
    plane.legend(loc="lower right", fontsize="small", framealpha=1)
    drawing.savefig(path, dpi=110)


def draw_buckets(path: Path) -> None:
    """g(x), the gradient of a negative with logit x: by buckets between the positives, and between break points."""
    drawing, (published, exact) = _new_figure(2, (10, 3.6))
    pieces = exact_pieces(SCENE)
    for plane, method, colour in ((published, "bucketed", PUBLISHED), (exact, "pairwise", EXACT)):
        for ends, values in pieces:
            plane.plot(ends, values, color="0.75", linewidth=4)
        plane.plot([], [], color="0.75", linewidth=4, label="definition, $g(x)$")
        gradient = SCENE.gradient(method, STEP.delta)[1]
        plane.plot(SCENE.negatives, gradient, "o", color=colour, markersize=4.5, label="negatives")
        plane.set(xlim=VIEW, ylim=(-0.04, 0.6), xlabel="logit $x$ of a negative")
    for ends, level in published_pieces(SCENE):
        published.plot(ends, (level, level), color=PUBLISHED, linewidth=1.2)
    for ends, values in pieces:
        exact.plot(ends, values, color=EXACT, linewidth=1.2)
    _mark_edges(published, SCENE.positives, "$x_{}$")
    _mark_edges(exact, SCENE.break_points().thresholds[0])
    published.set(title="edges at the positives, one value a bucket", ylabel="$g(x)$")
    exact.set(title="edges at the break points, one line a bucket")
    for plane in (published, exact):
        plane.legend(loc="upper left", fontsize="small", framealpha=1)
    drawing.savefig(path, dpi=110)


def exact_pieces(problem: Problem) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The ends of each bucket between break points within the view, and g there: 1 / rank(i) sums to g."""
    break_points, positives = problem.break_points(), problem.positives
    false_positives = STEP(problem.negatives - positives[:, None]).sum(-1)
    rank = STEP(positives - positives[:, None]).sum(-1) + false_positives
    value, slope = (table[0] for table in break_points.gradient((1 / rank)[None]))
    origins = [VIEW[0], *break_points.thresholds[0].tolist(), VIEW[1]]
    ends = list(pairwise(origins))
    at_ends = [
        (float(v), float(v + s * (right - left))) for v, s, (left, right) in zip(value, slope, ends, strict=True)
    ]
    return list(zip(ends, at_ends, strict=True))


def published_pieces(problem: Problem) -> list[tuple[tuple[float, float], float]]:
    """The ends of each bucket between positives, and the gradient of every negative in it."""
    relevant = float(problem.positives[0]) - STEP.delta  # lower negatives outrank nobody, and are left out
    gradient = problem.gradient("bucketed", STEP.delta)[1]
    edges = [relevant, *problem.positives.tolist(), VIEW[1]]
    buckets = torch.bucketize(problem.negatives, problem.positives, right=True)
    inside = [(buckets == b) & (problem.negatives >= relevant) for b in range(len(edges) - 1)]
    return [(ends, float(gradient[m].mean())) for ends, m in zip(pairwise(edges), inside, strict=True)]


def _new_figure(panels: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """On white, so that it can be read in dark themes, too."""
    drawing = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = list(drawing.subplots(1, panels, squeeze=False)[0])
    for plane in axes:
        plane.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def _mark_edges(plane: Axes, edges: Tensor, label: str = "") -> None:
    for i, edge in enumerate(edges.tolist(), start=1):
        plane.axvline(edge, color="0.5", linewidth=0.8, linestyle=":")
        if label:
            plane.text(edge + 0.03, 0.005, label.format(i), color="0.3", fontsize="small")


def example(delta: float) -> str:
    """The worked example: ranking error and gradients of the negatives, by the definition and by published buckets."""
    lines = []
    for method in ("pairwise", "bucketed"):
        error, gradient = EXAMPLE.gradient(method, delta)
        lines.append(ROW.format(method, delta, "l_R =", error, " ".join(f"{g:.4f}" for g in gradient)))
    return "\n".join(lines)


@ends_with_a_sentence()
def main() -> None:
    folder = destination(__doc__, FIGURES)
    folder.mkdir(parents=True, exist_ok=True)
    draw_break_points(folder / "break_points.png")
    draw_buckets(folder / "buckets.png")
    positives, negatives = (", ".join(f"{x:g}" for x in group.tolist()) for group in EXAMPLE)
    print(f"positive at {positives}, negatives at {negatives}; gradients of these:")
    print(*map(example, (0.5, 0.0)), sep="\n")


if __name__ == "__main__":
    main()
