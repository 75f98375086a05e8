"""Reading images with an error that names the file."""

from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS

from brs_detr.errors import InputError


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """``LoadImageFromFile`` whose failure is a sentence, also when it comes from a data loader's worker.

    Raises:
        InputError: the file is missing or not an image.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return super().transform(results)
        except Exception as error:  # the decoders raise anything: AssertionError, cv2.error, OSError, ...
            raise InputError(
                f"The image {results['img_path']} cannot be read: replace the file, or remove it from the annotations."
            ) from error
