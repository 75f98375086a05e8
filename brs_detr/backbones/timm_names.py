"""Names of tensors in a timm model and in what timm makes of it for feature maps."""

import re
from collections.abc import Collection


def flat(name: str) -> str:
    """The same for both, ``layers.1.blocks`` and ``layers_1.blocks`` or ``model.layers.1.blocks``."""
    return re.sub(r"^(model|body)\.", "", name).replace(".", "_")


def match_names(whole: Collection[str], features: Collection[str]) -> dict[str, str | None]:
    """For each name in the whole model that in the feature extractor; None for what features do not need."""
    found = {flat(name): name for name in features}
    return {name: found.get(flat(name)) for name in whole}
