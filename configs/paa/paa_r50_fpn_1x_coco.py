_base_ = [
    "../_base_/models/paa_r50.py", "mmdet::_base_/schedules/schedule_1x.py",
    "../_base_/coco.py", "../_base_/runtime.py"]
optim_wrapper = dict(optimizer=dict(lr=0.01))
