"""Writing a graph as a file of ONNX, which says itself how images are prepared for it."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brs_detr.engine.export.graph import DetectionGraph
from brs_detr.errors import InputError

OPSET = 17  # the first with all that is used here: GridSample and RoIAlign by half pixels (16), LayerNormalization (17)
INPUTS, OUTPUTS = ("images", "sizes"), ("boxes", "scores", "labels")


def write_graph(graph: DetectionGraph, path: Path, metadata: dict[str, Any], *, dynamic_batch: bool) -> None:
    """Write a graph of ONNX's own operators. metadata: values of JSON by name, kept in `metadata_props`.

    dynamic_batch: any number of images at once, instead of one.

    Raises:
        InputError: the model has an operator that ONNX has not.
    """
    import onnx  # of the extra `export`

    axes = {name: {0: "batch"} for name in (*INPUTS, *OUTPUTS)} if dynamic_batch else {}
    with torch.no_grad(), constant_linspace(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a trace about sizes that are fixed, and of torch about this exporter
        try:
            torch.onnx.export(
                graph,
                example_inputs(graph.size, 2 if dynamic_batch else 1),  # torch takes a batch of one for no batch
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=INPUTS,
                output_names=OUTPUTS,
                dynamic_axes=axes,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            fault = str(error).split(" Please")[0].splitlines()[0]
            raise InputError(f"The model cannot be exported: {fault}") from error
    model = onnx.load(path)
    if foreign := [f"{node.domain}::{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")]:
        raise InputError(f"The model cannot be exported: ONNX has no operator {foreign[0]}.")
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in metadata.items()})
    onnx.save(model, path)


def example_inputs(size: tuple[int, int], images: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(images, 3, *size), torch.tensor([size] * images)


@contextmanager
def constant_linspace() -> Iterator[None]:
    """Let a trace take `torch.linspace`, of which mmdet makes the centres of cells, as the constant that it is.

    The operators that torch writes for it divide by zero where a map has one row or column.
    """
    linspace = torch.linspace

    def constant(start: Any, end: Any, steps: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.from_numpy(np.linspace(float(start), float(end), int(steps))).to(device, dtype)

    vars(torch)["linspace"] = constant
    try:
        yield
    finally:
        vars(torch)["linspace"] = linspace
