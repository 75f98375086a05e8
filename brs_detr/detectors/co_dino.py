"""Co-DINO (Zong et al., ICCV 2023): Co-DETR on DINO, baseline and ranking: the heads decide.

Beside Co-Deformable-DETR: denoising queries; proposals chosen by their best class; positions of the queries made
anew by each decoder layer, so that queries of auxiliary heads bring content alone.
"""

from typing import Any

from mmdet.models import DINO
from mmdet.models.layers import inverse_sigmoid
from mmdet.models.layers.transformer import MLP
from mmdet.registry import MODELS
from mmdet.utils import ConfigType
from torch import Tensor, nn

from brs_detr.errors import InputError
from brs_detr.heads import AuxiliaryQueries

from .auxiliary_layers import AuxiliaryContentEmbedding
from .co_detr import CoDETR

BOX_EMBEDDING = 512  # mmdet's decoder embeds a box in so many numbers, whatever its width


@MODELS.register_module()
class CoDINO(CoDETR, DINO):
    """`CoDETR` whose transformer is DINO's.

    dn_cfg: noise and groups of the denoising queries, see mmdet's `CdnQueryGenerator`. Without `query_nms`.
    """

    def __init__(self, *args: Any, dn_cfg: ConfigType, **kwargs: Any) -> None:
        if kwargs.get("query_nms") is not None:
            raise InputError("model.query_nms is no option of CoDINO, which chooses its queries as DINO does.")
        super().__init__(*args, dn_cfg={**dn_cfg}, **kwargs)  # a copy: mmdet writes into it

    def _init_layers(self) -> None:
        super()._init_layers()
        self.decoder.ref_point_head = MLP(BOX_EMBEDDING, self.embed_dims, self.embed_dims, 2)
        self.auxiliary_query_embedding = AuxiliaryContentEmbedding(2, self.embed_dims)

    def init_weights(self) -> None:
        """As mmdet's, but the queries' content is normal, as released."""
        super().init_weights()
        nn.init.normal_(self.query_embedding.weight)

    def pre_decoder(self, memory: Tensor, *args: Any, **kwargs: Any) -> tuple[dict, dict]:
        """Matching queries, and in training denoising queries before them (DINO, sections 3.3 and 3.4)."""
        return DINO.pre_decoder(self, memory, *args, **kwargs)

    def _auxiliary_decoder_inputs(self, head: int, group: AuxiliaryQueries) -> dict[str, Tensor]:
        box_embed = self.get_proposal_pos_embed(inverse_sigmoid(group.boxes))
        return dict(query=self.auxiliary_query_embedding(head, box_embed), reference_points=group.boxes)

    def forward_decoder(self, *args: Any, **kwargs: Any) -> dict:
        """DINO's."""
        return DINO.forward_decoder(self, *args, **kwargs)
