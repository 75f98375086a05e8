"""Groups of queries in one pass of the decoder are what each is in a pass of its own."""

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from brs_detr.detectors.auxiliary_layers import attend_within, joined_queries
from tests.configs.test_configs import build_model
from tests.reference import ROOT
from tests.samples import make_batch

NAMES = ["brs_detr/brs-detr", "co_dino/co-dino"]


def test_a_query_attends_within_its_group() -> None:
    first = torch.tensor([[False, True], [False, False]])
    mask = attend_within([2, 1, 2], first, torch.device("cpu"))
    assert mask.int().tolist() == [
        [0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [1, 1, 0, 1, 1],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
    ]
    assert not attend_within([2, 1], None, torch.device("cpu"))[:2, :2].any()


def auxiliary_group(model: nn.Module, memory: Tensor, number: int) -> dict[str, Tensor]:
    shape = len(memory), number
    group = {"query": torch.randn(*shape, model.embed_dims), "reference_points": torch.rand(*shape, 4)}
    return group if hasattr(model, "dn_query_generator") else {**group, "query_pos": torch.randn_like(group["query"])}


@pytest.mark.parametrize("name", NAMES)
def test_one_pass_is_a_pass_for_each(name: str) -> None:
    """Values of every layer, and gradients of the weights that all groups share."""
    torch.manual_seed(0)
    model = build_model(Config.fromfile(ROOT / "configs" / f"{name}_tiny_digits.py")).train()
    model.decoder.apply(lambda module: setattr(module, "p", 0.0) if isinstance(module, nn.Dropout) else None)
    data = model.data_preprocessor(make_batch([3, 2], 10), training=True)
    encoder_inputs, memory_inputs = model.pre_transformer(model.extract_feat(data["inputs"]), data["data_samples"])
    encoded = model.forward_encoder(**encoder_inputs)
    memory_inputs["memory"] = encoded["memory"].detach()
    queries, _ = model.pre_decoder(**encoded, batch_data_samples=data["data_samples"])
    queries = {key: value.detach() if isinstance(value, Tensor) else value for key, value in queries.items()}
    groups = [queries, *(auxiliary_group(model, encoded["memory"], number) for number in (11, 7))]
    together, sizes = joined_queries(queries, groups[1:])
    assert sizes == [queries["query"].shape[1], 11, 7]

    joint = model.forward_decoder(**{**memory_inputs, **together})
    alone = [model.forward_decoder(**{**memory_inputs, **group}) for group in groups]
    states = torch.cat([each["hidden_states"] for each in alone], dim=2)
    torch.testing.assert_close(joint["hidden_states"], states, atol=1e-5, rtol=1e-4)
    for layer, references in enumerate(joint["references"]):
        apart = torch.cat([each["references"][layer] for each in alone], dim=1)
        torch.testing.assert_close(references, apart, atol=1e-5, rtol=1e-4)
    weights = [weight for weight in model.decoder.parameters() if weight.requires_grad]
    direction = torch.randn_like(states)
    ours, expected = (
        torch.autograd.grad((each * direction).sum(), weights, allow_unused=True)
        for each in (joint["hidden_states"], states)
    )
    for gradient, other in zip(ours, expected, strict=True):
        if other is not None:
            torch.testing.assert_close(gradient, other, atol=1e-4 * float(other.abs().max()), rtol=1e-3)
