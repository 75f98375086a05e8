"""A config on the digits, and changes to their annotations."""

import json
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config

Edit = Callable[[dict], object]


def config(root: Path, classes: tuple[str, ...] = tuple("0123456789"), num_classes: int = 10) -> Config:
    dataset = {
        "type": "CocoDataset",
        "data_root": str(root),
        "metainfo": {"classes": classes},
        "ann_file": "annotations/train.json",
        "data_prefix": {"img": "train/"},
    }
    head = {"type": "DINOHead", "num_classes": num_classes}
    model = {
        "type": "DINO",
        "bbox_head": head,
        "backbone": {"num_classes": 1000},
        "rpn_head": {"num_classes": 1},
    }
    return Config({"model": model, "train_dataloader": {"dataset": dataset}})


def edit(data: Path, change: Edit, split: str = "train") -> None:
    path = data / "annotations" / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
