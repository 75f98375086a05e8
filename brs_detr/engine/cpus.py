"""How many CPUs each process of a training needs, asked before a cluster is:

python -m brs_detr.engine.cpus CONFIG [train.py's options]
"""

from mmengine.config import Config

from brs_detr.endings import ends_with_a_sentence
from brs_detr.engine import commands
from brs_detr.engine.setup.config import load_config


def cpus_of(config: Config) -> int:
    """One for the process, and one for each worker of its largest data loader: the others' wait meanwhile."""
    loaders = [config.get(f"{split}_dataloader") or {} for split in ("train", "val")]
    return 1 + max(loader.get("num_workers", 0) for loader in loaders)


@ends_with_a_sentence()
def main() -> None:
    args = commands.parsed("train")
    print(cpus_of(load_config(args.config, args.cfg_options, args.work_dir)))


if __name__ == "__main__":
    main()
