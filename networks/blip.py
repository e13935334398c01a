"""BLIP (Li et al. 2022, arXiv:2201.12086) under its official key names, of any size.

Image tokens come from a vision transformer. One BERT reads texts in three ways: alone, beginning with [CLS],
for contrast; with the image through cross-attention in every layer, beginning with [ENC], for matching; and,
from left to right, beginning with [DEC], to write captions. The last has self-attention of its own and shares
everything else. Losses are made elsewhere, from the parts given here.

Legend: N images, B texts, Q texts that are queries, L image tokens, T text tokens, D vision width, W text
width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from networks.layers.beam_search import Beams, beam_search
from networks.layers.bert import BertModel, BertSize
from networks.layers.language_head import BertWithHead
from networks.layers.momentum_contrast import ContrastSize, Fusion, MomentumContrast, refuse_inference_mode
from networks.layers.vit import VisionTransformer, ViTSize

TRANSFORMERS_NAMES = {  # pieces of the names below ``vision_model.`` of the transformers library
    "vision_model.embeddings.class_embedding": "visual_encoder.cls_token",
    "vision_model.embeddings.position_embedding": "visual_encoder.pos_embed",
    "vision_model.embeddings.patch_embedding": "visual_encoder.patch_embed.proj",
    "vision_model.encoder.layers": "visual_encoder.blocks",
    "vision_model.post_layernorm": "visual_encoder.norm",
    ".self_attn.qkv": ".attn.qkv",
    ".self_attn.projection": ".attn.proj",
    ".layer_norm": ".norm",
}


class BLIP(MomentumContrast):
    """The pre-training model; all sizes are those of the published BLIP with ViT-B by default.

    Releases that are fine-tuned for retrieval lack the decoder; those of the transformers library lack the
    temperature too. Of a captioner, which has no text encoder, only what the two share is loaded.

    Args:
        vision: of the vision transformer. BLIP with ViT-L has a width of 1024, a depth of 24, 16 heads and a
            ``drop_path`` of 0.1.
        text: of BERT; its vocabulary ends with [DEC] and [ENC].
        contrast: of the contrastive part.
    """

    optional_weights: tuple[str, ...] = ("text_decoder.", "temp")

    def __init__(
        self,
        vision: ViTSize = ViTSize(image_size=224),
        text: BertSize = BertSize(vocab_size=30524),
        contrast: ContrastSize = ContrastSize(queue_size=57600),
    ) -> None:
        visual_encoder = VisionTransformer(vision)
        text_encoder = BertModel(text, vision.width, fusion_layer=0, use_token_types=False)
        super().__init__(visual_encoder, text_encoder, text, contrast)
        decoder = BertModel(text, vision.width, fusion_layer=0, use_token_types=False)
        share_all_but_self_attention(text_encoder, decoder)
        self.text_decoder = BertWithHead(decoder)

    @property
    def bert(self) -> BertModel:
        """See `MomentumContrast.bert`."""
        return self.text_encoder  # type: ignore[return-value]

    @property
    def map_layer(self) -> int:
        """The ninth."""
        return 8

    def encode_text(self, ids: Tensor, mask: Tensor, momentum: bool = False) -> Tensor:
        """ids of texts that begin with [CLS], mask (B,T), 1 = token -> (B,T,W), without an image."""
        return self._part("text_encoder", momentum).encode_text_alone(ids, mask)

    def fuse(
        self,
        ids: Tensor,
        mask: Tensor,
        image_embeds: Tensor,
        image_of_text: Tensor | None = None,
        *,
        attention_layers: Sequence[int] = (),
        create_graph: bool = False,
    ) -> Fusion:
        """Reads texts together with their images.

        Args:
            ids: (Q,T) of texts that begin with [ENC]. (Matching in the transformers library, and in the
                authors' demonstration, leaves [CLS] there, with which the model was not trained.)
            mask: (Q,T), 1 = token.
            image_embeds: (N,L,D).
            image_of_text: (Q,) long into the N images, or None where text q goes with image q.
            attention_layers: see `networks.albef.ALBEF.fuse`.
            create_graph: whether a loss on maps will differentiate the gradient to the attention once more.

        Raises:
            ValueError: when texts and images do not pair up.
            RuntimeError: when attention is asked for in inference mode.
        """
        if attention_layers:
            refuse_inference_mode(image_embeds)
        hidden, attentions = self.bert.fuse(
            self.bert.encode_text(ids, mask),
            mask,
            image_embeds,
            image_of_text,
            attention_layers=attention_layers,
            create_graph=create_graph,
        )
        return Fusion(hidden, tuple(attentions))

    # Captions.

    def next_token_logits(
        self, ids: Tensor, mask: Tensor, image_embeds: Tensor, image_of_text: Tensor | None = None
    ) -> Tensor:
        """What the decoder expects after each token.

        Args:
            ids: (B,T) of texts that begin with [DEC].
            mask: (B,T), 1 = token.
            image_embeds: (N,L,D).
            image_of_text: (B,) long into the N images, or None where text b goes with image b.

        Returns:
            (B,T,V).
        """
        bert = self.text_decoder.bert
        hidden, _ = bert.fuse(bert.encode_text(ids, mask), mask, image_embeds, image_of_text, causal=True)
        return self.text_decoder.cls(hidden)

    @torch.no_grad()
    def write_captions(
        self,
        image_embeds: Tensor,
        prompt: Tensor,
        end_id: int,
        beams: Beams = Beams(),
    ) -> list[Tensor]:
        """Captions by beam search, each text read anew at every step.

        Args:
            image_embeds: (N,L,D).
            prompt: (T,) ids that every caption begins with, [DEC] first.
            end_id: of [SEP].
            beams: how the search is done.

        Returns:
            N captions' ids (T',), prompt and end included.
        """

        def search(image_embed: Tensor) -> Tensor:
            def next_log_probabilities(ids: Tensor) -> Tensor:
                image_of_text = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
                logits = self.next_token_logits(ids, torch.ones_like(ids), image_embed[None], image_of_text)
                return logits[:, -1].float().log_softmax(dim=-1)

            return beam_search(next_log_probabilities, prompt, end_id, beams)

        return [search(image_embed) for image_embed in image_embeds]

    # Checkpoints.

    def official_name(self, name: str) -> str:
        """See `MomentumContrast.official_name`; also of the transformers library."""
        if name.startswith("vision_model."):
            for theirs, official in TRANSFORMERS_NAMES.items():
                name = name.replace(theirs, official)
        return name

    def fill_tied_names(self, state: dict[str, Tensor], own: Mapping[str, Tensor]) -> None:
        """See `MomentumContrast.fill_tied_names`.

        Raises:
            ValueError: the decoder does not share its weights with the encoder.
        """
        for encoder in ("text_encoder.", "text_encoder_m.", "text_decoder.bert."):
            if f"{encoder}embeddings.word_embeddings.weight" in state:
                position_ids = f"{encoder}embeddings.position_ids"
                state[position_ids] = own[position_ids].clone()
        prefix = "text_decoder.bert."
        for name in own:
            if name.startswith(prefix) and ".attention." not in name:
                _fill_pair(state, name, f"text_encoder.{name.removeprefix(prefix)}")
        head = "text_decoder.cls.predictions"
        _fill_pair(state, f"{head}.decoder.bias", f"{head}.bias")
        _fill_pair(state, f"{head}.decoder.weight", f"{prefix}embeddings.word_embeddings.weight")


def share_all_but_self_attention(encoder: BertModel, decoder: BertModel) -> None:
    """Makes the encoder's embeddings, cross-attention and feed-forward layers the decoder's, too."""
    decoder.embeddings = encoder.embeddings
    for layer, shared in zip(decoder.encoder.layer, encoder.encoder.layer, strict=True):
        layer.crossattention = shared.crossattention
        layer.intermediate = shared.intermediate
        layer.output = shared.output


def _fill_pair(state: dict[str, Tensor], name: str, other: str) -> None:
    """Gives one tensor both of its names. Raises ValueError if there are two tensors."""
    if name in state and other in state and not torch.equal(state[name], state[other]):
        raise ValueError(
            f"this checkpoint's {name} is not its {other}, so it is not of a BLIP whose text decoder shares "
            "its weights; those fine-tuned for question answering are not"
        )
    for present, absent in ((name, other), (other, name)):
        if present in state:
            state.setdefault(absent, state[present])
