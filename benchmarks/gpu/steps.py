"""Training steps of whole detectors: how long one takes, the share of its losses, and memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from brs_detr.engine.running.activations import checkpoint_activations
from brs_detr.engine.setup.config import use_mixed_precision
from brs_detr.timing.counting import peak_memory
from brs_detr.timing.loss_time import LossTimer, classification_losses
from brs_detr.timing.measuring import Effort, Times, seconds_of
from brs_detr.timing.random_data import number_of_classes, random_batch
from brs_detr.timing.report import Row as LossRow
from brs_detr.timing.run import MODEL, Settings, build_model, time_losses

from ..report import size
from .cases import Case, Part, Row, Setting
from .operator_checks import SAMPLERS, sampling_by

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BRS, CO = "brs_detr/brs-detr", "co_detr/co-deformable-detr"
QUICK = "atss/brs-atss"  # enough for most of a dry run
IMAGES, FULL = 2, (800, 1333)
WARM_UP, REPEATS = 3, 12
FP32, BF16 = "fp32", "bf16"


class Variant(NamedTuple):
    """One way to take a step. recompute: activations of backbone and encoder, as by --checkpoint-activations."""

    detector: str
    backbone: str = "r50"
    precision: str = FP32
    attention: str = SAMPLERS[0]
    recompute: bool = False

    def __str__(self) -> str:
        recomputed = ", activations computed again" if self.recompute else ""
        return f"{Path(self.detector).name} {self.backbone}, {self.precision}, {self.attention}{recomputed}"

    def config(self, setting: Setting) -> Config:
        name = "_tiny_digits.py" if setting.small else f"_{self.backbone}_1x_coco.py"
        config = Config.fromfile(str(CONFIGS / f"{self.detector}{name}"))
        if self.precision == BF16:
            use_mixed_precision(config)
        return config


VARIANTS = [
    *(Variant(detector, "r50", p, attention) for attention in SAMPLERS for p in (FP32, BF16) for detector in (BRS, CO)),
    *(Variant(BRS, "r50", FP32, attention, recompute=True) for attention in SAMPLERS),
    *(Variant(BRS, backbone, BF16) for backbone in ("swin-t", "swin-l")),
    *(Variant(BRS, "swin-l", precision, recompute=True) for precision in (FP32, BF16)),
]
SMALL_VARIANTS = [Variant(BRS), Variant(QUICK, precision=BF16, recompute=True)]


def batch_of(setting: Setting) -> tuple[int, tuple[int, int]]:
    """Number of images, and the (h, w) of the largest in pixels."""
    return (1, (64, 96)) if setting.small else (IMAGES, FULL)


def detectors(setting: Setting) -> tuple[str, ...]:
    """Whose losses are looked at more closely."""
    return (QUICK,) if setting.small else (BRS, CO)


@contextmanager
def training(variant: Variant, setting: Setting) -> Iterator[tuple[nn.Module, Callable[[], object]]]:
    """A model and the function that takes a step of it as training does, from images on the host to new weights."""
    torch.manual_seed(0)
    config = variant.config(setting)
    model = build_model(config, MODEL, setting.torch_device)
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # all steps are of the same model, which does not diverge
    if variant.recompute:
        checkpoint_activations(model)
    batch = random_batch(*batch_of(setting), number_of_classes(model))
    with sampling_by(variant.attention, setting):
        yield model, partial(model.train_step, batch, optimizer)


def measure(variant: Variant, setting: Setting) -> list[Row]:
    """A row of the table."""
    device = setting.torch_device
    with training(variant, setting) as (model, step):
        step()  # from now on the optimiser holds its moments
        held = torch.cuda.memory_allocated(device) if setting.on_gpu else 0
        peak = held + peak_memory(step, device)
        whole, in_losses = timed(step, list(classification_losses(model).values()), setting)
    return [
        {
            "detector": Path(variant.detector).name,
            "backbone": variant.backbone,
            "precision": variant.precision,
            "attention": variant.attention,
            "activations": "computed again" if variant.recompute else "kept",
            "iteration, ms": whole.p50,
            "p20": whole.p20,
            "p80": whole.p80,
            "losses, ms": in_losses.p50,
            "losses, %": 100 * in_losses.p50 / whole.p50,
            "peak, GB": peak / 1e9,
        }
    ]


def timed(step: Callable[[], object], losses: list[nn.Module], setting: Setting) -> tuple[Times, Times]:
    """Times of whole steps, and of their classification losses, forward and backward."""
    timer, whole, in_losses = LossTimer(), [], []
    for _ in range(2 if setting.small else WARM_UP + REPEATS):
        timer.attach(losses)
        whole.append(seconds_of(step, setting.torch_device))
        timer.detach()
        in_losses.append(sum(span.seconds for span in timer.take()))
    first = 1 if setting.small else WARM_UP
    return Times.of(whole[first:]), Times.of(in_losses[first:])


def by_method(detector: str, setting: Setting) -> list[Row]:
    """The losses of a step by each method, as `scripts/time_loss.py` measures them, from outputs of random weights."""
    variant = Variant(detector)
    images, image_size = batch_of(setting)
    settings = Settings(
        source=MODEL,
        images=images,
        image_size=image_size,
        effort=Effort(1, 0.0, 0.0) if setting.small else Effort(10, 1.0, 5.0),
        device=setting.device,
    )
    report = time_losses([(str(variant), variant.config(setting))], settings)
    return [loss_row(detector, row) for row in report.with_totals() if row.head == "total"]


def loss_row(detector: str, row: LossRow) -> Row:
    measured = row.measurement
    return {
        "detector": Path(detector).name,
        "losses": row.method,
        "P": size(row.positives),
        "N": size(row.negatives),
        "forward, ms": measured.forward.p50,
        "backward, ms": measured.backward.p50,
        "waits": measured.synchronisations,
        "memory, MB": measured.memory / 1e6,
        "share, %": None if row.share is None else 100 * row.share,
    }


def cases(setting: Setting) -> list[Case]:
    variants = SMALL_VARIANTS if setting.small else VARIANTS
    return [
        Case(f"losses of {Path(detector).name}, by method", 60, partial(by_method, detector, setting))
        for detector in detectors(setting)
    ] + [Case(str(variant), 40, partial(measure, variant, setting)) for variant in variants]


STEPS = Part(
    "steps",
    f"A training step of {IMAGES} random images of {FULL[0]} x {FULL[1]} with random weights: data to the device,\n"
    f"forward, backward, AdamW; median of {REPEATS} after {WARM_UP}. Convolutions of fp32 are torch's default, which\n"
    "is TF32 where there is one; bf16 is `--amp`, activations are computed again by `--checkpoint-activations`.\n"
    "Losses are the classification losses, as `loss_time` in the log. Peak: of torch's allocator.",
    cases,
)
