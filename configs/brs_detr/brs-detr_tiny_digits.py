_base_ = [
    "../_base_/models/brs_detr_r50.py", "../_base_/digits.py",
    "../_base_/tiny_digits.py", "../_base_/runtime.py"]
model = _base_.tiny_model
model.train_cfg.rcnn = dict(  # without pretrained weights the first proposals miss every object
    sampler=dict(type="RandomSampler", num=10**10, pos_fraction=1.0, neg_pos_ub=-1, add_gt_as_proposals=True))
