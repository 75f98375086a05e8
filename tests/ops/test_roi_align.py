"""RoIAlign against a loop over its sampling points, values and gradients."""

import math

import pytest
import torch

import brs_detr.ops  # noqa: F401  (first: it makes mmcv.ops importable)

# isort: split
import mmcv.ops


def random_boxes(n: int, generator: torch.Generator, size: float = 60.0) -> torch.Tensor:
    corner = torch.rand(n, 2, generator=generator, dtype=torch.float64) * size
    extent = torch.rand(n, 2, generator=generator, dtype=torch.float64) * size / 2 + 1
    return torch.cat([corner, corner + extent], dim=1)


def bilinear(feature: torch.Tensor, y: float, x: float) -> torch.Tensor:
    """RoIAlign's interpolation of a (C, H, W) map: zero beyond a pixel outside."""
    height, width = feature.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return feature.new_zeros(feature.shape[0])
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    return (
        feature[:, top, left] * (1 - dy) * (1 - dx)
        + feature[:, top, right] * (1 - dy) * dx
        + feature[:, bottom, left] * dy * (1 - dx)
        + feature[:, bottom, right] * dy * dx
    )


def loop_roi_align(
    features: torch.Tensor,
    rois: torch.Tensor,
    size: tuple[int, int],
    scale: float,
    samples: int,
    aligned: bool,
) -> torch.Tensor:
    rows = []
    for image, *box in rois.tolist():
        x1, y1, x2, y2 = (side * scale - 0.5 * aligned for side in box)
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = max(height, 1.0), max(width, 1.0)
        cell_h, cell_w = height / size[0], width / size[1]
        count_y = samples or math.ceil(height / size[0])
        count_x = samples or math.ceil(width / size[1])
        cells = []
        for row in range(size[0]):
            for column in range(size[1]):
                points = [
                    bilinear(
                        features[int(image)],
                        y1 + (row + (i + 0.5) / count_y) * cell_h,
                        x1 + (column + (j + 0.5) / count_x) * cell_w,
                    )
                    for i in range(count_y)
                    for j in range(count_x)
                ]
                cells.append(torch.stack(points).mean(0))
        rows.append(torch.stack(cells, dim=1).view(-1, *size))
    return torch.stack(rows)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [0, 2])
def test_roi_align_forward_and_gradient(aligned: bool, samples: int) -> None:
    generator = torch.Generator().manual_seed(6)
    features = torch.randn(2, 3, 9, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    image = torch.randint(0, 2, (6, 1), generator=generator).double()
    rois = torch.cat([image, random_boxes(6, generator, size=30.0)], dim=1)
    expected = loop_roi_align(features, rois, (3, 2), 0.25, samples, aligned)
    layer = mmcv.ops.RoIAlign((3, 2), spatial_scale=0.25, sampling_ratio=samples, aligned=aligned)
    pooled = layer(features, rois)
    torch.testing.assert_close(pooled, expected)
    upstream = torch.randn(pooled.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(pooled, features, upstream)
    (expected_gradient,) = torch.autograd.grad(expected, features, upstream)
    torch.testing.assert_close(gradient, expected_gradient)


def test_roi_align_gradcheck() -> None:
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(1, 2, 5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    rois = torch.cat([torch.zeros(3, 1).double(), random_boxes(3, generator, size=4.0)], dim=1)
    assert torch.autograd.gradcheck(lambda x: mmcv.ops.roi_align(x, rois, 2, 1.0, 2, "avg", True), (features,))


def test_roi_align_low_precision_keeps_dtype() -> None:
    features = torch.randn(1, 2, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    rois = torch.tensor([[0, 1, 1, 6, 7]], dtype=torch.bfloat16)
    pooled = mmcv.ops.roi_align(features, rois, 2, 1.0, 2, "avg", True)
    pooled.float().sum().backward()
    assert pooled.dtype == features.grad.dtype == torch.bfloat16
    full = mmcv.ops.roi_align(features.detach().float(), rois.float(), 2, 1.0, 2, "avg", True)
    torch.testing.assert_close(pooled.float(), full, rtol=1e-2, atol=1e-2)


def test_roi_align_has_no_max_pooling() -> None:
    with pytest.raises(NotImplementedError, match=r"pool_mode='max'.*compiled mmcv"):
        mmcv.ops.RoIAlign(2, pool_mode="max")(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5))
