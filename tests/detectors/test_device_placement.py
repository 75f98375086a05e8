"""The losses of every detector are computed on the device of the model: nothing of ours is built beside it."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.host_reads import CONFIGS, LOSSES, OURS, batch, tiny_model

from .placement import OnGPU, gpu, move

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="stands in for a GPU, where there is none")


def losses_of(model: nn.Module) -> dict[str, Tensor]:
    data = model.data_preprocessor(batch(), training=True)
    torch.manual_seed(1)
    return model.parse_losses(model.loss(data["inputs"], data["data_samples"]))[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_losses_of_a_training_step(name: str) -> None:
    """No operator mixes devices, and the values are the CPU's. Our code never has the host wait for a copy."""
    model = tiny_model(name)
    with torch.no_grad():
        expected = losses_of(model)
    move(model)
    with gpu() as mode:
        losses = losses_of(model)
        assert all(isinstance(value, OnGPU) for value in losses.values())
        values = {key: float(value.detach()) for key, value in losses.items()}
    assert values == pytest.approx({key: float(value) for key, value in expected.items()}, rel=1e-4, abs=1e-6)
    assert not [where for where in mode.waits if where[0] in (OURS, LOSSES)]


def test_what_a_gpu_refuses_is_refused() -> None:
    with gpu() as mode:
        values = torch.tensor([1.0, 2.0], device="cuda")
        assert values.is_cuda
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            values + torch.ones(2)
        with pytest.raises(TypeError, match="NumPy"):
            values.numpy()
        assert mode.waits.total() == 1
        assert values[torch.tensor([1])].tolist() == [2.0]
        assert mode.waits.total() == 2
        assert (values + torch.ones(2).to("cuda", non_blocking=True)).tolist() == [2.0, 3.0]
        assert mode.waits.total() == 2
