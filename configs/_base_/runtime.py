"""What every training shares: registration, hooks, logging, checkpoints."""

_base_ = "mmdet::_base_/default_runtime.py"

custom_imports = dict(imports=["brs_detr.registry"], allow_failed_imports=False)

default_hooks = dict(
    checkpoint=dict(
        type="WholeCheckpointHook",
        interval=1,
        max_keep_ckpts=1,
        save_best="coco/bbox_mAP",
        rule="greater",
    ),
    progress=dict(type="ProgressHook"),
    curves=dict(type="CurvesHook"),
    loss_time=dict(type="LossTimeHook"),
)

log_processor = dict(type="TrainingLogProcessor", mean_pattern=r".*(loss|time|grad_norm|unscaled).*")
