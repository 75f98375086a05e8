"""All formats, in the order in which they are tried."""

from .mmdet import MMDET, OWN
from .released import BRS_DETR, CO_DETR, CO_DINO
from .resnet import RESNET
from .swin import MICROSOFT_SWIN, MMDET_SWIN, TIMM_SWIN
from .timm import OTHER

DETECTORS = (CO_DINO, BRS_DETR, CO_DETR, OWN, MMDET)
BACKBONES = (MMDET_SWIN, MICROSOFT_SWIN, TIMM_SWIN, RESNET, OTHER)
