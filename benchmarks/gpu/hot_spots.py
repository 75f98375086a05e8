"""Where the time of a training step goes: the kernels that take longest, and how long the device has nothing to do."""

import time
from collections.abc import Callable, Iterable
from functools import partial

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from brs_detr.timing.measuring import seconds_of

from .cases import Case, Part, Row, Setting
from .operator_checks import SAMPLERS
from .steps import BF16, BRS, FP32, QUICK, Variant, training

LONGEST = 20
WARM_UP = 4
NAME = 70  # characters; those of templates are longer


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of (start, end)."""
    total, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def measure(variant: Variant, setting: Setting) -> list[Row]:
    """Milliseconds of a step as a whole, of the host until it has asked for everything, of the device while it works,
    and of each of the kernels that take longest; on a CPU of operators."""
    kind = DeviceType.CUDA if setting.on_gpu else DeviceType.CPU
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.on_gpu else [])]
    with training(variant, setting) as (_, step):
        for _ in range(1 if setting.small else WARM_UP):
            step()
        whole = 1e3 * seconds_of(step, setting.torch_device)
        host = of_host(step)
        with profile(activities=activities, acc_events=True) as profiler:
            seconds_of(step, setting.torch_device)
        events = [
            event for event in profiler.events() or [] if event.device_type == kind and not event.is_user_annotation
        ]
    times: dict[str, list[float]] = {}
    for event in events:
        of_event = event.time_range.elapsed_us() if setting.on_gpu else event.self_cpu_time_total
        times.setdefault(event.name, []).append(of_event / 1e3)
    longest = sorted(times.items(), key=lambda each: -sum(each[1]))[:LONGEST]
    device = busy((event.time_range.start, event.time_range.end) for event in events) / 1e3
    rows = [("all", 1, whole), ("host", 1, host), ("device", len(events), device)]
    rows += [(name[:NAME], len(found), sum(found)) for name, found in longest]
    return [
        {"step of": str(variant), "what": what, "calls": calls, "ms": ms, "%": 100 * ms / whole}
        for what, calls, ms in rows
    ]


def of_host(step: Callable[[], object]) -> float:
    """Milliseconds until all is asked for."""
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)


def cases(setting: Setting) -> list[Case]:
    attention = SAMPLERS[1] if setting.on_gpu else SAMPLERS[0]
    of = (
        [Variant(QUICK)] if setting.small else [Variant(BRS, "r50", precision, attention) for precision in (FP32, BF16)]
    )
    return [Case(str(variant), 40, partial(measure, variant, setting)) for variant in of]


HOT_SPOTS = Part(
    "hot_spots",
    "Where the time of a training step goes, as of `--only steps`: all of it, the host until it has asked for\n"
    f"everything, the device while any kernel runs, and the {LONGEST} kernels that take longest in all, by torch's\n"
    "profiler, which slows the host. On a CPU, operators without those that they call.",
    cases,
)
