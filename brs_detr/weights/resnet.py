"""ResNet: torchvision, timm and mmdet agree on the names; only the classifier is not for detectors."""

from .formats import Format

RESNET = Format(
    "ResNet of torchvision, timm or mmdet",
    lambda names: {"conv1.weight", "layer1.0.conv1.weight"} <= set(names),
    unused=r"^fc\.",
)
