# BRS-DETR's schedule: as Co-DETR's, with two smaller steps.
_base_ = "schedule_1x.py"
param_scheduler = [dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[10, 11], gamma=0.2)]
