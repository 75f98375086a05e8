"""What is wrong with a checkpoint."""

from brs_detr.errors import InputError


class CheckpointError(InputError):
    """A checkpoint cannot be read, or does not belong to the model; the message says why and what helps."""
