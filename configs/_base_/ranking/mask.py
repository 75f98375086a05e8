# Rank & Sort Loss in a two-stage detector with masks: Dice loss, weighted by the scores, balanced to the ranking loss.
_base_ = "two_stage.py"
ranking = dict(
    roi_head=dict(
        type="RankingRoIHead",
        mask_head=dict(
            type="RankingFCNMaskHead", loss_mask=dict(_delete_=True, type="DiceLoss", eps=5e-6))))
