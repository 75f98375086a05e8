"""`train` on the command line: its options, and the training that they ask for."""

import argparse
from pathlib import Path

from brs_detr.engine import arguments, launch
from brs_detr.engine.running.resuming import LAST
from brs_detr.engine.running.tuning import LOGGERS
from brs_detr.engine.setup.pipelines import FLIPS
from brs_detr.engine.train_options import TrainOptions


def add_options(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--work-dir", help="checkpoints and logs; default work_dirs/NAME_OF_CONFIG")
    start = parser.add_mutually_exclusive_group()  # --load-from goes with --resume auto, see launch.train
    start.add_argument(
        "--resume",
        nargs="?",
        const=LAST,
        metavar="CHECKPOINT",
        help="continue from a checkpoint, by default the newest of the work directory; auto: start, or continue",
    )
    parser.add_argument("--load-from", metavar="CHECKPOINT", help="start from the weights of a checkpoint")
    start.add_argument("--overwrite", action="store_true", help="discard what the work directory holds")
    parser.add_argument("--amp", action="store_true", help="mixed precision, bfloat16 where the device has it")
    parser.add_argument("--sync-ranking", action="store_true", help="rank the samples of all processes together")
    parser.add_argument("--epochs", type=int, help="train for this many, the learning-rate schedule in proportion")
    parser.add_argument("--seed", type=arguments.seed, metavar="N", help="of all random numbers; drawn by default")
    add_data(parser)
    parser.add_argument(
        "--checkpoint-minutes", type=float, metavar="N", help="save every N minutes too, to be continued amid an epoch"
    )
    parser.add_argument(
        "--batch", type=int, metavar="IMAGES", help="of all processes together for each step, at the same learning rate"
    )
    parser.add_argument(
        "--checkpoint-activations", action="store_true", help="less memory: compute them again for gradients"
    )
    parser.add_argument("--compile", action="store_true", help="backbone and encoder, by torch.compile")
    add_tuning(parser)
    arguments.add_launcher(parser)


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="your own images: a folder or file of COCO, YOLO, Pascal VOC, LabelMe, CVAT, or tables of boxes (CSV)",
    )
    parser.add_argument("--split", type=float, metavar="SHARE", help="of --data's training images, to validate on")
    parser.add_argument("--image-size", metavar="N|WxH", help="images are resized to fit it, their shape kept")
    parser.add_argument("--flip", choices=FLIPS, help="of training images, instead of the config's")


def add_tuning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--freeze-backbone", action="store_true", help="leave its weights as they are loaded")
    parser.add_argument("--ema", action="store_true", help="evaluate and save a moving average of the weights")
    parser.add_argument(
        "--early-stop", type=int, metavar="N", help="end after N evaluations without a better one, see save_best"
    )
    parser.add_argument("--logger", choices=LOGGERS, help="show the training there, too")


def run(args: argparse.Namespace) -> None:
    """Train a config.

    python scripts/train.py configs/brs_detr/brs-detr_tiny_digits.py
    brs-detr train brs_detr::brs_detr/brs-detr_tiny_digits.py
    python scripts/train.py configs/brs_detr/brs-detr_r50_1x_coco.py --data DIR
    bash scripts/dist_train.sh configs/brs_detr/brs-detr_r50_1x_coco.py 8
    """
    given = TrainOptions(
        folder=args.work_dir,
        resume=args.resume,
        load_from=args.load_from,
        overwrite=args.overwrite,
        mixed_precision=args.amp,
        sync_ranking=args.sync_ranking,
        epochs=args.epochs,
        seed=args.seed,
        data=args.data,
        share=args.split,
        image_size=args.image_size,
        flip=args.flip,
        checkpoint_minutes=args.checkpoint_minutes,
        batch=args.batch,
        checkpoint_activations=args.checkpoint_activations,
        compiled=args.compile,
        freeze_backbone=args.freeze_backbone,
        average=args.ema,
        patience=args.early_stop,
        logger=args.logger,
        options=args.cfg_options,
        launcher=args.launcher,
    )
    launch.train(args.config, given)
