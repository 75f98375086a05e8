"""What a training step asks of the device: kernels, and the host's waiting for it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

from brs_detr.errors import InputError
from brs_detr.timing.counting import count_synchronisations
from brs_detr.timing.recording import RankingCall, Replay
from brs_detr.timing.run import MODEL, Settings, record_step

from ..host_reads import KINDS, HostReads
from .cases import Case, Part, Row, Setting
from .operator_checks import SAMPLERS
from .steps import FULL, IMAGES, Variant, batch_of, detectors, training

LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
COPIES = ("cudaMemcpyAsync", "cudaMemcpy", "cudaMemsetAsync")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def counted(run: Callable[[], object], setting: Setting) -> Row:
    """Launches, copies and waits of a second run, as the profiler sees the calls of CUDA; on a CPU those of
    operators.

    Raises InputError where the profiler may not look.
    """
    if not setting.small:
        run()  # compiles
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.on_gpu else [])]
    with profile(activities=activities, acc_events=True) as profiler:
        run()
        if setting.on_gpu:
            torch.cuda.synchronize()
    calls = {event.key: event.count for event in profiler.key_averages()}
    launched = LAUNCHES if setting.on_gpu else [name for name in calls if name.startswith("aten::")]
    if not any(name in calls for name in launched):
        raise InputError("the profiler sees no launch here: it may lack the permission to use the GPU's counters.")
    ended = 1 if setting.on_gpu else 0  # by the wait above
    return {
        "launches": sum(calls.get(name, 0) for name in launched),
        "copies, fills": sum(calls.get(name, 0) for name in COPIES),
        "waits": sum(calls.get(name, 0) for name in WAITS) - ended,
        "synchronising": count_synchronisations(run, setting.torch_device),
    }


def of_step(detector: str, attention: str, setting: Setting) -> list[Row]:
    """A whole training step, with the host's reads by whose code asks for them."""
    with training(Variant(detector, attention=attention), setting) as (_, step):
        row = counted(step, setting)
        with HostReads() as reads:
            step()
    what = {"step of": f"{Path(detector).name}, {attention}"}
    return [{**what, **row, **{f"read by {kind}": reads.by[kind] for kind in KINDS}}]


def of_losses(detector: str, setting: Setting) -> list[Row]:
    """The calls of the classification losses in a step, forward and backward, and their sum."""
    images, image_size = batch_of(setting)
    settings = Settings(source=MODEL, images=images, image_size=image_size, device=setting.device)
    variant = Variant(detector)
    step = record_step(str(variant), variant.config(setting), settings, setting.torch_device)
    found = {
        f"{case.head}, {case.layer}": counted(partial(differentiated, case.replay), setting)
        for call in step.calls
        for case in (call.cases([call.loss.method]) if isinstance(call, RankingCall) else [call])
        if case.called
    }
    columns = next(iter(found.values()))
    total = {column: sum(int(row[column] or 0) for row in found.values()) for column in columns}
    return [{"losses of": f"{Path(detector).name}, {what}", **row} for what, row in {**found, "all": total}.items()]


def differentiated(replay: Replay) -> None:
    """Forward and backward."""
    inputs = [x.detach().requires_grad_() for x in replay.inputs]
    terms = [x for x in tree_leaves(replay(inputs)) if isinstance(x, Tensor) and x.requires_grad]
    torch.autograd.grad([term.sum() for term in terms], inputs, allow_unused=True)


def cases(setting: Setting) -> list[Case]:
    samplers = SAMPLERS if setting.on_gpu else SAMPLERS[:1]
    return [
        *(Case(f"losses of {Path(name).name}", 40, partial(of_losses, name, setting)) for name in detectors(setting)),
        *(
            Case(f"step of {Path(name).name}, {attention}", 60, partial(of_step, name, attention, setting))
            for name in detectors(setting)
            for attention in samplers
        ),
    ]


LAUNCH_COUNTS = Part(
    "launches",
    f"What a step of {IMAGES} images of {FULL[0]} x {FULL[1]} asks of the device, from torch's profiler: kernels\n"
    "launched, copies and fills, and calls that wait. Synchronising: operations that torch itself says synchronise.\n"
    "Of a step also what the host reads, counted as in `python -m benchmarks.host_reads`. On a CPU: operators.",
    cases,
)
