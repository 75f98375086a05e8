# Co-DINO's schedule: as Co-DETR's, but of the transformer no part learns slower.
_base_ = "schedule_1x.py"
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(_delete_=True, backbone=dict(lr_mult=0.1))))
