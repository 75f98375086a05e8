"""The bytes of a Co-DETR's training step by part: what is kept for the backward pass, and the most at any time.

The network is not computed: its tensors have a shape and no values, so that any size fits any machine. It runs on the
CPU's operators with a GPU's deformable attention, and under autocast with a GPU's choice of what stays in float32. The
heads on maps, and all losses, are computed on the CPU from random maps and queries (`brs_detr/timing/stand_in.py`).
Bytes are those of tensors; what an operator takes for itself while it runs is not seen.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from mmcv.ops import multi_scale_deform_attn
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from brs_detr.detectors import CoDETR
from brs_detr.detectors.auxiliary_layers import joined_queries
from brs_detr.heads import AuxiliaryQueries
from brs_detr.losses import RankingLoss
from brs_detr.ops.float32_attention import Float32Attention
from brs_detr.timing.counting import LiveBytes
from brs_detr.timing.random_data import number_of_classes, random_batch
from brs_detr.timing.stand_in import replace_methods, replace_transformer

OTHER, DECODER, RANKING = "neck and positions", "decoder", "ranking losses"
NETWORK = {
    "backbone": ["backbone.forward"],
    "encoder": ["encoder.forward"],
    "encoder, attention": ["encoder.layers.*.self_attn.forward"],
    "proposals": ["pre_decoder"],
    DECODER: ["decoder.forward", "bbox_head.forward"],
}
HEADS = {
    "RPN": ["rpn_head.loss_and_predict"],
    "RoI head": ["roi_head.loss_and_samples"],
    "ATSS head": ["atss_head.loss_and_samples"],
    "losses of queries": ["bbox_head.loss_with_auxiliary"],
}
FLOAT32 = ((F, "layer_norm"), (F, "group_norm"), (F, "softmax"), (Tensor, "softmax"))  # on a GPU, not on a CPU


class Bytes(NamedTuple):
    """kept: by part, when the forward pass ends. highest: at any time, new gradients of weights included."""

    kept: dict[str, int]
    highest: int


class PartBytes(LiveBytes):
    """Counts live bytes by the part that made them, too."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.by = OTHER, Counter[str]()

    def _follow(self, storage: torch.UntypedStorage, size: int) -> None:
        if storage._cdata not in self.known:
            self.by[self.part] += size
            weakref.finalize(storage, self.by.subtract, {self.part: size})
        super()._follow(storage, size)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """What is made inside belongs to a part."""
        outer, self.part = self.part, part
        try:
            yield
        finally:
            self.part = outer

    def attach(self, model: nn.Module, parts: dict[str, list[str]]) -> None:
        """Let methods of a model, and of what it consists of, make the parts."""
        for part, paths in parts.items():
            for path in paths:
                before, _, after = path.partition(".*.")
                owners = model.get_submodule(before) if after else [model]
                for owner in owners:
                    self._wrap(owner, after or path, part)

    def _wrap(self, owner: nn.Module, path: str, part: str) -> None:
        place, _, name = path.rpartition(".")
        owner = owner.get_submodule(place)
        method = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.of(part):
                return method(*args, **kwargs)

        replace_methods(owner, **{name: counted})


class HostValues(TorchDispatchMode):
    """Inside `FakeTensorMode`: tensors made of shapes alone keep their values, for the host to read."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if tensors and not any(isinstance(tensor, FakeTensor) for tensor in tensors):
            with unset_fake_temporarily():
                return function(*args, **kwargs)
        args, kwargs = tree_map_only(Tensor, without_values, (args, kwargs))
        return function(*args, **kwargs)


def without_values(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, FakeTensor) else torch.empty_like(tensor, device=tensor.device)


def shape_of(tensor: Tensor) -> Tensor:
    with unset_fake_temporarily():
        return torch.tensor(tensor.shape)


def attend(value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """What mmcv calls on a GPU, under the name of what it calls on a CPU."""
    return Float32Attention.apply(value, shapes, None, locations, weights, 64)


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda tensor, *args, **kwargs: function(tensor.float(), *args, **kwargs)


@contextmanager
def without_computing(precision: torch.dtype) -> Iterator[None]:
    """Inside the block new tensors have no values, and operators are those of a GPU in a precision."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(torch, "_shape_as_tensor", shape_of))
        stack.enter_context(patch.object(multi_scale_deform_attn, "multi_scale_deformable_attn_pytorch", attend))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(HostValues())
        if precision != torch.float32:
            stack.enter_context(torch.autocast("cpu", precision))
            for owner, name in FLOAT32:
                stack.enter_context(patch.object(owner, name, in_float32(getattr(owner, name))))
        yield


def drop_values(model: nn.Module) -> None:
    """Inside `without_computing`: a model's weights and buffers keep their shapes alone."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = nn.Parameter(torch.empty(weight.shape), weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def network_bytes(model: CoDETR, images: int, size: tuple[int, int], precision: torch.dtype) -> Bytes:
    """Of the network up to the maps and the queries' outputs, forward and backward. The model loses its weights."""
    samples = random_batch(images, size, number_of_classes(model))["data_samples"]
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=size, img_shape=size))
    counter = PartBytes()
    counter.attach(model, NETWORK)
    with without_computing(precision):
        drop_values(model)
        pixels = torch.empty(images, 3, *size)
        with counter:
            outputs = network_outputs(model, pixels, samples, counter)
            torch.clear_autocast_cache()
            kept = dict(counter.by)
            torch.autograd.backward(outputs, [torch.empty_like(output) for output in outputs])
    return Bytes(kept, counter.highest)


def network_outputs(model: CoDETR, pixels: Tensor, samples: list, counter: PartBytes) -> list[Tensor]:
    """What the losses differentiate: as `CoDETR.loss` does, with as many auxiliary queries as there may be."""
    feats = model.extract_feat(pixels)
    encoder_inputs, memory_inputs = model.pre_transformer(feats, samples)
    encoded = model.forward_encoder(**encoder_inputs)
    memory_inputs["memory"] = encoded["memory"]
    queries, proposals = model.pre_decoder(**encoded, batch_data_samples=samples)
    with counter.of(DECODER):
        together, _ = joined_queries(queries, [auxiliary_queries(model, head, len(pixels)) for head in range(2)])
    decoded = model.bbox_head(**model.forward_decoder(**{**memory_inputs, **together}))
    outputs = [proposals, model._maps(encoded["memory"], feats), decoded]
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.requires_grad]


def auxiliary_queries(model: CoDETR, head: int, images: int) -> dict[str, Tensor]:
    shape = images, model.max_auxiliary_queries
    group = AuxiliaryQueries(torch.rand(*shape, 4), torch.rand(*shape, model.embed_dims), [])
    return model._auxiliary_decoder_inputs(head, group)


def heads_bytes(model: CoDETR, images: int, size: tuple[int, int]) -> Bytes:
    """Of the RPN, the RoI head, the ATSS head and all losses, forward and backward, in float32. Changes the model."""
    batch = random_batch(images, size, number_of_classes(model))
    batch = model.data_preprocessor(batch, training=True)
    strides = model.atss_head.prior_generator.strides[: model.num_feature_levels]
    sides = [tuple(-(-side // stride) for side in size) for stride, _ in strides]
    feats = tuple(torch.randn(images, model.embed_dims, *side).requires_grad_() for side in sides)
    replace_methods(model, extract_feat=lambda images: feats)
    replace_transformer(model, feats, batch["data_samples"])
    counter = PartBytes()
    counter.attach(model, HEADS)
    for module in model.modules():
        if isinstance(module, RankingLoss):
            counter.attach(module, {RANKING: ["forward"]})
    with counter:
        loss, _ = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
        kept = dict(counter.by)
        loss.backward()
    return Bytes(kept, counter.highest)


def weights_bytes(model: nn.Module) -> dict[str, int]:
    """Of the weights and what training adds to them, without DistributedDataParallel's copy of the gradients."""
    tensors = [*model.parameters(), *model.buffers()]
    learned = sum(weight.nbytes for weight in model.parameters() if weight.requires_grad)
    return {"weights": sum(tensor.nbytes for tensor in tensors), "gradients": learned, "AdamW": 2 * learned}
