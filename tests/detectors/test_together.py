"""Two processes of two images train as one of four, where they rank together; one exchange does for all heads."""

import brs_detr.registry  # isort: skip  # noqa: F401  supplies mmcv's operators before mmdet imports them

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from brs_detr.engine.setup.config import rank_over_processes
from brs_detr.heads.together import MODULE, rank_together
from brs_detr.timing.loss_time import LossTimer, classification_losses
from tests.configs.test_configs import build_model, number_of_classes
from tests.processes import in_processes
from tests.reference import ROOT
from tests.samples import make_batch

DETECTORS = {  # steps, and precision: some RoI heads are float32 throughout; elsewhere its rounding grows to 1e-4
    "faster_rcnn/brs-faster-rcnn": (5, torch.float32),
    "atss/brs-atss": (5, torch.float64),
    "cascade_rcnn/brs-cascade-rcnn": (2, torch.float32),
    "mask_rcnn/brs-mask-rcnn": (2, torch.float32),
    "atss/alrp-atss": (2, torch.float64),
}
BOXES = [3, 2, 4, 0]  # of the four images


def tiny(name: str) -> tuple[Config, nn.Module]:
    """A detector whose losses do not depend on what else is in the batch, except by ranking."""
    cfg = Config.fromfile(str(ROOT / "configs" / f"{name}_tiny_digits.py"))
    rank_over_processes(cfg)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return cfg, model


def batch(cfg: Config, images: slice) -> dict[str, list]:
    whole = make_batch(BOXES, number_of_classes(cfg), size=(96, 96))
    for sample in whole["data_samples"]:
        masks = np.zeros((len(sample.gt_instances), *sample.img_shape), dtype=np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, sample.gt_instances.bboxes.int().tolist(), strict=True):
            mask[y1:y2, x1 : (x1 + x2) // 2] = 1
        sample.gt_instances.masks = BitmapMasks(masks, *sample.img_shape)
    return {key: values[images] for key, values in whole.items()}


def trained(name: str, images: slice) -> dict[str, Tensor]:
    """The parameters after some steps of gradient descent, how many of them moved, and the losses of the last."""
    (cfg, model), (steps, dtype) = tiny(name), DETECTORS[name]
    wrapped = model.to(dtype)
    if dist.is_initialized():
        rank_together(model)
        wrapped = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.01)
    for _ in range(steps):
        data = model.data_preprocessor(batch(cfg, images), training=True)
        data["inputs"] = data["inputs"].to(dtype)
        loss, logged = model.parse_losses(wrapped(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = {key: p.detach() for key, p in model.named_parameters()}
    moved = sum(not torch.equal(before[key], after[key]) for key in after)
    losses = {f"logged {key}": torch.as_tensor(value).detach() for key, value in logged.items()}
    return after | losses | {"moved": torch.tensor(moved)}


@contextmanager
def counting() -> Iterator[list[str]]:
    """The collectives that Python asks for."""
    seen: list[str] = []

    def counted(function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append(function.__name__)
            return function(*args, **kwargs)

        return call

    functions = ("all_gather", "all_reduce", "broadcast", "all_gather_object")
    patches = [mock.patch.object(dist, name, counted(getattr(dist, name))) for name in functions]
    with patches[0], patches[1], patches[2], patches[3]:
        yield seen


def step_of_all_heads(rank: int) -> dict[str, Any]:
    """BRS-DETR: its collectives in a step, what is timed, and what a NaN in the RPN of one process ends with."""
    cfg, model = tiny("brs_detr/brs-detr")
    rank_together(model)
    data = model.data_preprocessor(batch(cfg, slice(2 * rank, 2 * rank + 2)), training=True)
    timer = LossTimer()
    timer.attach(list(classification_losses(model).values()))
    with counting() as seen:
        losses = model(**data, mode="loss")
        model.parse_losses(losses)[0].backward()
    spans = timer.take()
    timer.detach()
    if rank == 1:
        nn.init.constant_(model.rpn_head.rpn_cls.bias, float("nan"))
    try:
        model(**data, mode="loss")
        error = ""
    except ValueError as raised:
        error = f"{type(raised).__name__}: {raised}"
    return {
        "collectives": seen,
        "losses": len(losses),
        "heads": len(classification_losses(model)),
        "spans": [span.seconds for span in spans],
        "error": error,
    }


def layers(images: slice) -> dict[str, Tensor]:
    """Losses and gradients of BRS-DETR's query head, given what its decoder and encoder say of some images."""
    cfg, model = tiny("brs_detr/brs-detr")
    classes, generator = number_of_classes(cfg), torch.Generator().manual_seed(0)
    logits, enc_logits = (
        torch.randn(2, 4, 30, classes, generator=generator),
        torch.randn(4, 80, classes, generator=generator),
    )
    boxes, enc_boxes = (0.1 + 0.5 * torch.rand(*v.shape[:-1], 4, generator=generator) for v in (logits, enc_logits))
    outputs = [logits[:, images], boxes[:, images], enc_logits[images], enc_boxes[images]]
    outputs = [v.clone().requires_grad_() for v in outputs]
    samples = batch(cfg, images)["data_samples"]
    truth = [InstanceData(bboxes=s.gt_instances.bboxes, labels=s.gt_instances.labels) for s in samples]
    losses = model.bbox_head.loss_by_feat(*outputs, truth, [s.metainfo for s in samples])
    sum(value for key, value in losses.items() if "loss" in key).backward()
    gradients = {f"gradient {k}": v.grad.movedim(-3, 0) for k, v in enumerate(outputs)}
    return {key: value.detach() for key, value in losses.items()} | gradients


def everything() -> dict[str, Any]:
    init_default_scope("mmdet")
    rank = dist.get_rank()
    own = slice(2 * rank, 2 * rank + 2)
    return {
        **{name: {k: v.numpy() for k, v in trained(name, own).items()} for name in DETECTORS},
        "layers": {k: v.numpy() for k, v in layers(own).items()},
        "step": step_of_all_heads(rank),
    }


@pytest.fixture(scope="module")
def seen() -> list[dict[str, Any]]:
    return in_processes(everything, 2)


@pytest.mark.parametrize("name", DETECTORS)
def test_two_processes_of_two_images_train_as_one_of_four(seen: list[dict], name: str) -> None:
    whole = trained(name, slice(0, 4))
    _, before = tiny(name)
    moved = [
        key for key, p in before.named_parameters() if p.requires_grad and not torch.equal(p, whole[key].to(p.dtype))
    ]
    assert len(moved) > 10
    for process in seen:
        assert process[name].keys() == whole.keys()
        for key, value in whole.items():
            np.testing.assert_allclose(
                process[name][key], torch.as_tensor(value).numpy(), rtol=0, atol=1e-5, err_msg=key
            )


def test_query_heads_see_the_queries_of_all_processes(seen: list[dict]) -> None:
    for key, value in layers(slice(0, 4)).items():
        parts = [process["layers"][key] for process in seen]
        ours = np.concatenate(parts) / 2 if key.startswith("gradient") else parts[0]  # the mean over processes
        np.testing.assert_allclose(ours, value.numpy(), rtol=0, atol=1e-6, err_msg=key)


def test_one_exchange_a_step(seen: list[dict]) -> None:
    for process in seen:
        step = process["step"]
        assert step["collectives"] == ["all_gather", "all_gather", "all_reduce", "all_reduce"]
        assert step["losses"] > 20
        forward, backward = step["spans"]  # of one call for all heads
        assert min(forward, backward) > 0


def test_a_nan_in_one_process_ends_all_of_them(seen: list[dict]) -> None:
    first, second = (process["step"]["error"] for process in seen)
    assert "NotFiniteError: process 1 of 2" in first
    assert second.startswith("NotFiniteError: RPN")


def test_one_process_is_left_as_it_is() -> None:
    _, model = tiny("atss/brs-atss")
    rank_together(model)
    assert not hasattr(model, MODULE)
    assert copy.deepcopy(model).bbox_head.loss_cls.group is None
