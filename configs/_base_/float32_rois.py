# Of mmdet's two-stage detectors: RoI features in float32, whatever the precision of the rest.
_extractor = dict(type="Float32RoIExtractor")
float32_rois = dict(bbox_roi_extractor=_extractor)
float32_rois_and_masks = dict(mask_roi_extractor=_extractor, **float32_rois)
