# BRS-DETR exactly as its released code computed it, for comparison with published numbers. Each option's
# docstring says what it restores and why it is off by default.
_base_ = "brs_detr_r50.py"
_approximate = dict(method="bucketed")  # buckets cut at the positives: inexact for delta > 0
_unweighted = dict(score_weighted=False, zero_iou_is_negative=True)
model = dict(
    bbox_head=dict(zero_iou_is_negative=True, loss_cls=_approximate),
    rpn_head=dict(
        loss_cls=_approximate, bbox_coder=dict(target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_box_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2]), **_unweighted),
    roi_head=dict(bbox_head=dict(loss_cls=_approximate, **_unweighted)),
    atss_head=dict(loss_cls=_approximate, **_unweighted),
    train_cfg=dict(  # the limit of 1,000 was ignored, and boxes without area were kept
        rpn_proposal=dict(max_per_img=4000, min_bbox_size=-1)))
