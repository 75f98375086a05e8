"""An image that cannot be read is named, also from a worker process."""

from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from brs_detr.data import LoadImage
from brs_detr.errors import InputError, sentence


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_the_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"The image .*picture\.png cannot be read"):
        LoadImage()({"img_path": str(path)})


def test_an_image_is_read_as_ever(digits: Path) -> None:
    results = LoadImage()({"img_path": str(digits / "train" / "000001.png")})
    assert results["img"].shape == (64, 64, 3)
    assert results["img"].dtype == np.uint8


class Folder(list):
    """A data set of image paths."""

    def __getitem__(self, index: int) -> np.ndarray:
        return LoadImage()({"img_path": super().__getitem__(index)})["img"]


def test_a_worker_sends_the_sentence(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("no image")
    with pytest.raises(InputError) as caught:
        next(iter(DataLoader(Folder([str(path)]), num_workers=1)))
    assert sentence(caught.value) == (
        f"The image {path} cannot be read: replace the file, or remove it from the annotations."
    )
