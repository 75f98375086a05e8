# ResNet, ImageNet-1k, as published by torchvision; for heads that take a backbone from mmdet.
resnet50 = dict(init_cfg=dict(type="PretrainedWeights", checkpoint="torchvision://resnet50"))
resnet101 = dict(depth=101, init_cfg=dict(type="PretrainedWeights", checkpoint="torchvision://resnet101"))
