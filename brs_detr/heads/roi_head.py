"""The RoI head of Co-DETR: mmdet's, which also hands its proposals on as queries."""

from mmdet.models import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from torch import Tensor

from .auxiliary import AuxiliarySamples


@MODELS.register_module()
class CoRoIHead(StandardRoIHead):
    """`StandardRoIHead` that also returns its sampled proposals. A query's feature is the mean over its RoI."""

    def loss_and_samples(
        self, x: tuple[Tensor, ...], rpn_results_list: InstanceList, batch_data_samples: SampleList
    ) -> tuple[dict[str, Tensor], list[AuxiliarySamples]]:
        """Losses, and one `AuxiliarySamples` an image."""
        self._samples: list[AuxiliarySamples] = []
        return self.loss(x, rpn_results_list, batch_data_samples), self._samples

    def bbox_loss(self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]) -> dict:
        results = super().bbox_loss(x, sampling_results)
        feats = results["bbox_feats"].mean(dim=(2, 3)).split([len(s.priors) for s in sampling_results])
        self._samples = [self._image_samples(*pair) for pair in zip(sampling_results, feats, strict=True)]
        return results

    def _image_samples(self, sampled: SamplingResult, feats: Tensor) -> AuxiliarySamples:
        labels, weights, targets, _ = self.bbox_head.get_targets([sampled], self.train_cfg)
        return AuxiliarySamples(sampled.priors, labels, targets, weights, feats)
