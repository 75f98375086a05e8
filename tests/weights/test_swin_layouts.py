"""The reordering of Swin's patch merging, against timm's own reading of Microsoft's files."""

import timm
import torch
from timm.models.swin_transformer import checkpoint_filter_fn

from brs_detr.weights import Skeleton, load_content, map_state_dict
from brs_detr.weights.formats import MICROSOFT_SWIN, MMDET_SWIN, TIMM_SWIN
from tests.weights.files import SMALL_SWIN, build, timm_weights

SMALL = {"embed_dim": 24, "depths": (2, 2, 2, 2)}
NAME = "swin_tiny_patch4_window7_224"


def random_microsoft_file(seed=0):
    """Random weights of a small Swin in Microsoft's layout, with their wrapping."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in timm_weights(NAME, **SMALL).items():
        name = TIMM_SWIN.to_common(name, value)[0].replace("head.fc.", "head.")
        weights[name] = 0.1 * torch.randn(value.shape, generator=generator)
    return {"model": weights}


def test_features_of_a_microsoft_file_in_mmdet_and_in_timm():
    content = random_microsoft_file()
    whole = timm.create_model(NAME, **SMALL)
    whole.load_state_dict(checkpoint_filter_fn(content, whole))
    backbone = build(SMALL_SWIN)
    backbone.eval()
    report = load_content(backbone, content, "file")
    assert report.complete
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = whole.eval().forward_intermediates(images, indices=[1, 2], intermediates_only=True)
        ours = backbone(images)
    for level, expected in zip((0, 1), theirs, strict=True):  # the last map is one window: timm does not shift it
        norm = getattr(backbone, f"norm{level + 1}")
        expected = norm(expected.movedim(1, -1)).movedim(-1, 1)
        assert (ours[level] - expected).abs().max() < 1e-4


def test_layouts_translate_back():
    weights = random_microsoft_file()["model"]
    for layout in (MMDET_SWIN, TIMM_SWIN, MICROSOFT_SWIN):
        there = dict(layout.from_common(name, value) for name, value in weights.items())
        assert layout.matches(there)
        back = dict(layout.to_common(name, value) for name, value in there.items())
        assert back.keys() == weights.keys()
        assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_only_the_merging_is_reordered():
    weights = random_microsoft_file()["model"]
    mapped, report = map_state_dict(weights, build(SMALL_SWIN))
    there = {name: MMDET_SWIN.to_common(name, mapped[name])[0] for name in report.loaded}
    changed = {name for name, source in there.items() if not torch.equal(mapped[name], weights[source])}
    assert changed == {name for name in mapped if ".downsample." in name}


def test_skeletons_have_no_memory_and_the_right_shapes():
    with Skeleton():
        skeleton = build(SMALL_SWIN)
    real = build(SMALL_SWIN)
    shapes = {name: value.shape for name, value in real.state_dict().items()}
    assert {name: value.shape for name, value in skeleton.state_dict().items()} == shapes
    assert skeleton.stages[0].blocks[0].attn.w_msa.qkv.weight.is_meta
    assert not torch.nn.Linear(2, 2).weight.is_meta
