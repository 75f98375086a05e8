"""Groups of queries in one pass of the decoder are what each is in a pass of its own."""

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from brs_detr.detectors.auxiliary_layers import attend_within, joined_queries
from brs_detr.heads.co_detr_heads import QueryGroup
from brs_detr.heads.detr_ranking import decoder_layers
from brs_detr.heads.matching import QueryTargets
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
    content = torch.randn(*shape, model.embed_dims, requires_grad=True)
    group = {"query": content, "reference_points": torch.rand(*shape, 4)}
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
    queries["query"].requires_grad_()
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
        torch.autograd.grad((each * direction).sum(), weights, allow_unused=True, retain_graph=True)
        for each in (joint["hidden_states"], states)
    )
    for gradient, other in zip(ours, expected, strict=True):
        assert (gradient is None) == (other is None)
        if other is not None:
            torch.testing.assert_close(gradient, other, atol=1e-4 * float(other.abs().max()), rtol=1e-3)
    check_that_no_group_reaches_another(joint["hidden_states"], [group["query"] for group in groups], sizes)


def check_that_no_group_reaches_another(states: Tensor, queries: list[Tensor], sizes: list[int]) -> None:
    for place, of_group in enumerate(states.split(sizes, dim=2)):
        gradients = torch.autograd.grad(of_group.sum(-1).cos().sum(), queries, retain_graph=True)
        assert [bool(gradient.any()) for gradient in gradients] == [place == other for other in range(len(queries))]


def test_the_losses_are_those_of_each_group() -> None:
    """In one call of the ranking loss as in a call for each."""
    torch.manual_seed(0)
    head = build_model(Config.fromfile(ROOT / "configs" / "brs_detr" / "brs-detr_tiny_digits.py")).bbox_head
    batch = make_batch([3, 2], 10)
    objects = [sample.gt_instances for sample in batch["data_samples"]]
    metas = [sample.metainfo for sample in batch["data_samples"]]
    sizes, images, layers = [20, 11, 7], len(metas), 2
    logits = [torch.randn(layers, images, size, 10).requires_grad_() for size in sizes]
    boxes = [torch.rand(layers, images, size, 4).requires_grad_() for size in sizes]
    matched = logits[0], boxes[0], torch.randn(images, 30, 10), torch.rand(images, 30, 4), objects, metas
    groups = [
        QueryGroup(name, logits[place], boxes[place], known_targets(images, sizes[place]))
        for place, name in enumerate(("roi", "atss"), 1)
    ]
    together = head.losses_of_groups(groups, *matched)
    apart = head.loss_by_feat(*matched)
    for group in groups:
        alone = head.layer_losses(decoder_layers(group.logits, group.boxes, group.targets), metas)
        apart |= {f"{group.head}_queries.{key}": value for key, value in alone.items()}
    assert together.keys() == apart.keys()
    for key, value in apart.items():
        torch.testing.assert_close(together[key], value, msg=key)
    given = [*logits, *boxes]
    ours, expected = (
        torch.autograd.grad(sum(loss for key, loss in each.items() if "loss" in key), given)
        for each in (together, apart)
    )
    torch.testing.assert_close(ours, expected)


def known_targets(images: int, queries: int) -> QueryTargets:
    """Every third query has an object."""
    labels = [torch.arange(queries).where(torch.arange(queries) % 3 == 0, 10).clamp(max=10) for _ in range(images)]
    weights = [torch.ones(queries) for _ in range(images)]
    targets = [torch.rand(queries, 4) for _ in range(images)]
    return QueryTargets(labels, weights, targets, [torch.ones(queries, 4) for _ in range(images)])
