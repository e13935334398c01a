"""ALBEF (Li et al., Align before Fuse, 2021) under its official key names, of any size.

Image tokens come from a vision transformer; text passes through the lower layers of BERT alone and through
the upper ones together with the image. Contrastive features, a matching head, a masked language head,
momentum twins and feature queues as in the reference pretraining model. Losses are made elsewhere, from the
parts given here.

Legend: N images, B texts, Q texts that are queries, L image tokens, T text tokens, D vision width, W text
width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from networks.layers.bert import BertModel, BertSize
from networks.layers.language_head import BertWithHead
from networks.layers.momentum_contrast import ContrastSize, Fusion, MomentumContrast, refuse_inference_mode
from networks.layers.vit import ImageTokens, VisionTransformer, ViTSize


class AlignBeforeFuse(MomentumContrast):
    """The pre-training model, whatever makes its image tokens.

    Fine-tuned releases lack the language head. Besides what every `MomentumContrast` accepts, checkpoints
    may be of SelfEQ and AMC, and with or without ``bert.`` in the names.

    Args:
        visual_encoder: of the images.
        text: of BERT.
        contrast: of the contrastive part.
        fusion_layer: the first text layer that sees the image.
    """

    optional_weights: tuple[str, ...] = (".cls.predictions.",)

    def __init__(
        self, visual_encoder: ImageTokens, text: BertSize, contrast: ContrastSize, fusion_layer: int
    ) -> None:
        text_encoder = BertWithHead(BertModel(text, visual_encoder.width, fusion_layer))
        super().__init__(visual_encoder, text_encoder, text, contrast)

    @property
    def bert(self) -> BertModel:
        """See `MomentumContrast.bert`."""
        return self.text_encoder.bert  # type: ignore[return-value]

    @property
    def map_layer(self) -> int:
        """The third with cross-attention."""
        return self.bert.fusion_layer + 2

    def encode_text(self, ids: Tensor, mask: Tensor, momentum: bool = False) -> Tensor:
        """ids, mask (B,T), 1 = token -> (B,T,W), from the layers below ``fusion_layer``."""
        return self._part("text_encoder", momentum).bert.encode_text(ids, mask)

    def fuse(
        self,
        text_embeds: Tensor,
        text_mask: Tensor,
        image_embeds: Tensor,
        image_of_text: Tensor | None = None,
        *,
        attention_layers: Sequence[int] = (),
        create_graph: bool = False,
        momentum: bool = False,
    ) -> Fusion:
        """The layers from ``fusion_layer`` on.

        Args:
            text_embeds: (Q,T,W) from ``encode_text``.
            text_mask: (Q,T), 1 = token.
            image_embeds: (N,L,D).
            image_of_text: (Q,) long into the N images, or None where text q goes with image q.
            attention_layers: the layers whose attention is returned, ready to be differentiated to; see
                `attention_layers`. The caller may have gradients off: the graph then begins in the lowest of
                them, and the layers below cost no memory.
            create_graph: whether a loss on maps will differentiate the gradient to the attention once more.
            momentum: use the momentum twin.

        Raises:
            ValueError: when texts and images do not pair up.
            RuntimeError: when attention is asked for in inference mode.
        """
        if attention_layers:
            refuse_inference_mode(text_embeds, image_embeds)
        hidden, attentions = self._part("text_encoder", momentum).bert.fuse(
            text_embeds,
            text_mask,
            image_embeds,
            image_of_text,
            attention_layers=attention_layers,
            create_graph=create_graph,
        )
        return Fusion(hidden, tuple(attentions))

    def mlm_logits(self, hidden: Tensor, momentum: bool = False) -> Tensor:
        """(...,W) -> (...,V); give the masked positions alone, (M,W), to save the rest."""
        return self._part("text_encoder", momentum).cls(hidden)

    def official_name(self, name: str) -> str:
        """See `MomentumContrast.official_name`."""
        for encoder in ("text_encoder", "text_encoder_m"):
            if name.startswith((f"{encoder}.embeddings.", f"{encoder}.encoder.")):
                return f"{encoder}.bert.{name.removeprefix(encoder + '.')}"
        return name

    def fill_tied_names(self, state: dict[str, Tensor], own: Mapping[str, Tensor]) -> None:
        """See `MomentumContrast.fill_tied_names`."""
        for encoder in ("text_encoder.", "text_encoder_m."):
            words = f"{encoder}bert.embeddings.word_embeddings.weight"
            bias = f"{encoder}cls.predictions.bias"
            if words in state:
                position_ids = f"{encoder}bert.embeddings.position_ids"
                state[position_ids] = own[position_ids].clone()
            if bias in state and words in state:
                state[f"{encoder}cls.predictions.decoder.weight"] = state[words]
                state[f"{encoder}cls.predictions.decoder.bias"] = state[bias]


class ALBEF(AlignBeforeFuse):
    """ALBEF as published, on a vision transformer; all sizes are the published ones by default.

    Args:
        vision: of the vision transformer.
        text: of BERT.
        contrast: of the contrastive part.
        fusion_layer: the first text layer that sees the image.
    """

    def __init__(
        self,
        vision: ViTSize = ViTSize(),
        text: BertSize = BertSize(),
        contrast: ContrastSize = ContrastSize(),
        fusion_layer: int = 6,
    ) -> None:
        super().__init__(VisionTransformer(vision), text, contrast, fusion_layer)
