# ConvNeXt-Atto of timm, 3 million parameters, from scratch: for small data such as the digits.
timm_backbone = dict(_delete_=True, type="TimmBackbone", model_name="convnext_atto", drop_path_rate=0.05)
timm_channels = [80, 160, 320]
