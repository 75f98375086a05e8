"""Small batches for training steps."""

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData


def make_batch(
    num_boxes: list[int], num_classes: int, size: tuple[int, int] = (128, 160), seed: int = 0
) -> dict[str, list]:
    """Images (3, H, W) uint8 of noise with boxes xyxy of at least 16 pixels, as a data loader gives them."""
    generator = torch.Generator().manual_seed(seed)
    h, w = size
    inputs, samples = [], []
    for image, count in enumerate(num_boxes):
        shape = (h - 16 * (image % 2), w)  # every second image is padded
        inputs.append(torch.randint(0, 256, (3, *shape), generator=generator, dtype=torch.uint8))
        corner = torch.rand(count, 2, generator=generator) * torch.tensor([w - 60.0, shape[0] - 60.0])
        boxes = torch.cat([corner, corner + 16 + 40 * torch.rand(count, 2, generator=generator)], dim=1)
        sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), img_id=image))
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.randint(0, num_classes, (count,), generator=generator)
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)
