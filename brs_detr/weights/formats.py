"""The kinds of checkpoint that are understood, in the order in which they are tried.

A detector's file is translated in two parts: what begins with ``backbone.`` by the backbone's format, the
rest by the detector's. A format translates to a common layout and back: that of detectors is this project's,
that of Swin Microsoft's, that of all other backbones their authors' (torchvision, timm).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch import Tensor

Entry = tuple[str, Tensor]
NOTHING = r"(?!)"


def unchanged(name: str, tensor: Tensor) -> Entry:
    return name, tensor


@dataclass(frozen=True)
class Format:
    """A naming and layout of weights.

    title: as the report says it.
    matches: whether these names are of this format.
    to_common, from_common: one entry of a state_dict between this format and the common layout.
    unused: pattern of names (common layout) that may find no place in a model, such as classifiers.
    fresh: pattern of names (common layout) that a model may have and such a file not.
    """

    title: str
    matches: Callable[[Collection[str]], bool]
    to_common: Callable[[str, Tensor], Entry] = unchanged
    from_common: Callable[[str, Tensor], Entry] = unchanged
    unused: str = NOTHING
    fresh: str = NOTHING


def detect(names: Collection[str], formats: tuple[Format, ...]) -> Format:
    """The first format that matches; the last one of each registry takes everything."""
    return next(known for known in formats if known.matches(names))
