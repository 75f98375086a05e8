"""BRS-DETR: detectors that learn by ranking."""

__version__ = "0.1.0"
