"""Files of ONNX detect in onnxruntime what torch detects: for several images, sizes and numbers of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brs_detr.data.calibration import Calibration
from brs_detr.engine.export.comparing import check_equal
from brs_detr.engine.export.graph import DetectionGraph
from brs_detr.engine.export.onnx_file import constant_linspace, write_graph
from brs_detr.errors import InputError
from tests.engine.export.models import BRS_DETR, batch, built, config_of

CALIBRATION = Calibration((0.0, 0.05, 0.2, 1.0), (0.0, 0.3, 0.7, 1.0), 0.5)
FILES: list[tuple[str, dict[str, Any], tuple[int, int], bool]] = [
    (BRS_DETR, dict(model__encoder__num_layers=1), (128, 64), True),  # whose coarsest map has one column
    (BRS_DETR, dict(model__encoder__num_layers=1, model__eval_module="two-stage"), (96, 160), True),
    ("configs/atss/atss_tiny_digits.py", {}, (160, 96), False),
]


@pytest.mark.parametrize(("path", "options", "size", "dynamic"), FILES)
def test_onnxruntime_equals_torch(
    path: str, options: dict[str, Any], size: tuple[int, int], dynamic: bool, tmp_path: Path
) -> None:
    model = built(config_of(path, **options))
    graph, file = DetectionGraph(model, size, CALIBRATION).eval(), tmp_path / "model.onnx"
    write_graph(graph, file, {}, dynamic_batch=dynamic)
    batches = [batch(size, images, seed=images) for images in ((1, 2, 3) if dynamic else (1, 1))]
    found = check_equal(file, graph, batches, CALIBRATION)
    assert found.detections > 20 * len(batches)
    assert found.lacking == 0
    assert max(found.boxes, found.scores) < 1e-3
    with torch.no_grad():
        torch.nn.init.normal_(next(model.parameters()))
    with pytest.raises(InputError, match="not those of torch"):
        check_equal(file, graph, batches[:1], CALIBRATION)


class Unknown(torch.autograd.Function):
    """An operator of another domain, as mmcv exports its own."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor) -> torch.Tensor:
        return scores.clone()

    @staticmethod
    def symbolic(graph: Any, scores: Any) -> Any:
        return graph.op("somewhere::Unknown", scores).setType(scores.type())


class Graph(torch.nn.Module):
    """In place of a detector's: it applies one operator."""

    size = 32, 32

    def __init__(self, operator: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, images: torch.Tensor, sizes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.operator(images), images + 1, sizes + 1


OPERATORS = {"aten::erfinv": torch.erfinv, "somewhere::Unknown": Unknown.apply}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_that_onnx_lacks_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^The model cannot be exported: .*{name}"):
        write_graph(Graph(OPERATORS[name]), tmp_path / "model.onnx", {}, dynamic_batch=False)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_cells_are_constants(steps: int) -> None:
    expected = torch.linspace(0.5, steps - 0.5, steps)
    with constant_linspace():
        found = torch.linspace(0.5, torch.tensor(steps) - 0.5, torch.tensor(steps), dtype=torch.float32, device="cpu")
    np.testing.assert_allclose(found, expected, rtol=1e-6)
