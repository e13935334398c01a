"""ALBEF for questions about images (Li et al. 2021, section 4.1) under its official key names, of any size.

A question is read together with its image by the whole text encoder; a second BERT writes the answer from
left to right while it looks at what became of the question's tokens.

Legend: N images, Q questions, A answers, K answers of one question, L image tokens, S question tokens, T
answer tokens, D vision width, W text width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from networks.layers.bert import BertModel, BertSize, key_mask
from networks.layers.language_head import BertWithHead
from networks.layers.published_layouts import check_shapes, holds_nothing_of, unwrapped
from networks.layers.vit import VisionTransformer, ViTSize, resize_position_embedding

TWINS = ("visual_encoder", "text_encoder", "text_decoder")
HEAD = "text_decoder.cls.predictions"
WORDS = "embeddings.word_embeddings.weight"


class ALBEFForQuestions(nn.Module):
    """ALBEF with a decoder of answers; all sizes are the published ones by default.

    Args:
        vision: of the vision transformer.
        text: of the text encoder. The decoder is as deep as the layers that see the image.
        fusion_layer: the first text layer that sees the image.
        momentum: of the momentum twins.
    """

    def __init__(
        self,
        vision: ViTSize = ViTSize(image_size=384),
        text: BertSize = BertSize(),
        fusion_layer: int = 6,
        momentum: float = 0.995,
    ) -> None:
        super().__init__()
        self.image_size = vision.image_size
        self.vocab_size = text.vocab_size
        self.max_positions = text.max_positions
        self.fusion_layer = fusion_layer
        self.momentum = momentum
        self.visual_encoder = VisionTransformer(vision)
        self.text_encoder = BertModel(text, vision.width, fusion_layer)
        decoder = BertModel(replace(text, depth=text.depth - fusion_layer), text.width, fusion_layer=0)
        self.text_decoder = BertWithHead(decoder)
        for name in TWINS:
            self.add_module(f"{name}_m", copy.deepcopy(getattr(self, name)).requires_grad_(False))

    def encode_image(self, images: Tensor, momentum: bool = False) -> Tensor:
        """(N,3,height,width), normalised -> (N,L,D)."""
        return self._part("visual_encoder", momentum)(images)

    def read_questions(
        self,
        ids: Tensor,
        mask: Tensor,
        image_embeds: Tensor,
        image_of_question: Tensor,
        momentum: bool = False,
    ) -> Tensor:
        """ids, mask (Q,S) of questions, 1 = token, and the images (N,L,D) they are about -> (Q,S,W)."""
        encoder = self._part("text_encoder", momentum)
        hidden, _ = encoder.fuse(encoder.encode_text(ids, mask), mask, image_embeds, image_of_question)
        return hidden

    def next_token_logits(
        self,
        ids: Tensor,
        mask: Tensor,
        question_states: Tensor,
        question_mask: Tensor,
        question_of_answer: Tensor,
        momentum: bool = False,
    ) -> Tensor:
        """What the decoder expects after each token of an answer.

        Args:
            ids: (A,T) of answers, which begin with [CLS].
            mask: (A,T), 1 = token.
            question_states: (Q,S,W) from `read_questions`.
            question_mask: (Q,S), 1 = token.
            question_of_answer: (A,) long, into the questions.
            momentum: use the momentum twin.

        Returns:
            (A,T,V).
        """
        decoder = self._part("text_decoder", momentum)
        hidden = decoder.bert.encode_text(ids, mask)
        length = ids.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        seen = key_mask(mask) & causal
        question_seen = key_mask(question_mask)[question_of_answer]
        for layer in decoder.bert.encoder.layer:
            hidden, _ = layer(hidden, seen, question_states, question_of_answer, image_mask=question_seen)
        return decoder.cls(hidden)

    @torch.no_grad()
    def update_momentum(self) -> None:
        """Twins := momentum * twins + (1 - momentum) * online, over parameters."""
        twins: list[Tensor] = []
        online: list[Tensor] = []
        for name in TWINS:
            twins += self._part(name, momentum=True).parameters()
            online += self._part(name, momentum=False).parameters()
        torch._foreach_lerp_(twins, online, 1 - self.momentum)

    def _part(self, name: str, momentum: bool) -> Any:
        return getattr(self, f"{name}_m" if momentum else name)

    # Checkpoints.

    def adapt_state_dict(self, state: Mapping[str, object]) -> dict[str, Tensor]:
        """A checkpoint of a public layout -> one that this model loads strictly.

        Accepts a model that is fine-tuned for questions, and a pre-trained ALBEF, from whose layers that see
        the image the decoder starts: layer ``fusion_layer`` is its layer 0, and so on. Either may be wrapped
        in ``model``, lack momentum twins (then the online weights), or be of another image size (positions
        are resized). A vocabulary that begins with that of the checkpoint may have further words, which
        start as they are here.

        Raises:
            ValueError: when nothing matches, or the checkpoint is of another size.
        """
        own = self.state_dict()
        adapted: dict[str, Tensor] = {}
        tensors = unwrapped(state)
        has_decoder = any(name.startswith("text_decoder.") for name in tensors)
        for name, tensor in tensors.items():
            if name.startswith(("text_encoder.", "text_encoder_m.")):
                adapted |= self._text_tensors(name.replace(".bert.", ".", 1), tensor, not has_decoder)
            elif name.partition(".")[0].removesuffix("_m") in TWINS:
                adapted[name] = tensor
        if not any(name in own for name in adapted):
            raise holds_nothing_of(self, state)
        for name in ("visual_encoder.pos_embed", "visual_encoder_m.pos_embed"):
            if name in adapted:
                adapted[name] = resize_position_embedding(adapted[name], self.visual_encoder.grid)
        self._fill(adapted, own)
        check_shapes(adapted, own)
        return adapted

    def _text_tensors(self, name: str, tensor: Tensor, starts_decoder: bool) -> dict[str, Tensor]:
        """What becomes of a tensor of the text encoder: its own, and one of the decoder that starts there."""
        encoder, _, rest = name.partition(".")
        decoder = encoder.replace("text_encoder", "text_decoder")
        if rest.startswith("cls."):
            return {f"{decoder}.{rest}": tensor} if starts_decoder else {}
        tensors = {name: tensor}
        pieces = rest.split(".")
        if starts_decoder and rest.startswith("embeddings."):
            tensors[f"{decoder}.bert.{rest}"] = tensor
        elif starts_decoder and int(pieces[2]) >= self.fusion_layer:
            pieces[2] = str(int(pieces[2]) - self.fusion_layer)
            tensors[f"{decoder}.bert.{'.'.join(pieces)}"] = tensor
        return tensors

    def _fill(self, state: dict[str, Tensor], own: Mapping[str, Tensor]) -> None:
        """Adds further words, buffers of positions, twins, and second names of tied tensors, in place."""
        for name in list(state):
            if name.endswith((WORDS, "cls.predictions.bias")) and len(state[name]) < len(own[name]):
                state[name] = torch.cat([state[name], own[name][len(state[name]) :]])
        for name in own:
            online = name.replace("_m.", ".", 1)
            if name.endswith("position_ids"):
                state[name] = own[name].clone()
            elif name.partition("_m.")[0] in TWINS and name not in state and online in state:
                state[name] = state[online]
        for head in (HEAD, HEAD.replace(".", "_m.", 1)):
            words = head.replace("cls.predictions", f"bert.{WORDS}")
            if words in state and f"{head}.bias" in state:
                state[f"{head}.decoder.weight"] = state[words]
                state[f"{head}.decoder.bias"] = state[f"{head}.bias"]
