"""The parts, those that are worth most first: what is wrong, what the losses cost, what else a training costs."""

from .hot_spots import HOT_SPOTS
from .launches import LAUNCH_COUNTS
from .loss_checks import LOSS_CHECKS
from .loss_times import LOSS_TIMES
from .operator_checks import OPERATOR_CHECKS
from .steps import STEPS
from .trainings import DIGITS, TWO_PROCESSES

PARTS = {
    part.name: part
    for part in (LOSS_CHECKS, OPERATOR_CHECKS, LOSS_TIMES, STEPS, HOT_SPOTS, LAUNCH_COUNTS, DIGITS, TWO_PROCESSES)
}
