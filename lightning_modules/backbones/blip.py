"""BLIP as a backbone (Li et al. 2022, arXiv:2201.12086)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_modules.backbones.base import Texts, TrainingStep
from lightning_modules.backbones.losses import next_token_loss
from lightning_modules.backbones.momentum import EncodedImages, MomentumBackbone
from lightning_modules.backbones.options import MapOptions
from lightning_modules.vocabulary import read_vocabulary
from networks.blip import BLIP
from networks.layers.beam_search import Beams
from networks.layers.momentum_contrast import Fusion
from networks.layers.tokenizer import Tokens, pre_caption_blip

DECODE = "[DEC]"
ENCODE = "[ENC]"
HIST_MAPS = MapOptions(heads=((7, 9), (8, 9)))


class BLIPBackbone(MomentumBackbone):
    """Texts of WordPiece, ITC + ITM + LM, and class activation maps of the cross-attention.

    Every text is read anew for matching, and for writing it: it begins with [CLS], [ENC] or [DEC].

    Args:
        network: the BLIP network, of any size; its vocabulary is the file's, then [DEC] and [ENC].
        vocabulary: file of BERT's vocabulary, a token a line.
        maps: how class activation maps are made. By default those of HIST: a loss sees all heads of the 9th
            layer, and two heads are judged; in networks of other sizes ``heads`` are to be set.
        max_tokens: tokens kept in training, special ones included. Evaluation keeps all that the network has
            positions for.
        label_smoothing: of the language loss.
        options: as for `MomentumBackbone`.

    Raises:
        ModelError: the vocabulary is missing, or is not of the network's size.
    """

    language_term: ClassVar[str] = "lm"
    match_scores_add_similarity: ClassVar[bool] = True
    network: BLIP

    def __init__(
        self,
        network: BLIP,
        vocabulary: Path,
        maps: MapOptions = HIST_MAPS,
        max_tokens: int = 30,
        label_smoothing: float = 0.1,
        **options: Any,
    ) -> None:
        tokens = read_vocabulary(Path(vocabulary))
        tokens += [token for token in (DECODE, ENCODE) if token not in tokens]
        super().__init__(network, tokens, add_sep=True, maps=maps, max_tokens=max_tokens, **options)
        self.decode_id = tokens.index(DECODE)
        self.encode_id = tokens.index(ENCODE)
        self.label_smoothing = label_smoothing

    def clean(self, text: str) -> str:
        """See `MomentumBackbone.clean`."""
        return pre_caption_blip(text, self.max_words)

    def encode_texts(self, tokens: Tokens, momentum: bool = False) -> Tensor:
        """All layers without their cross-attention."""
        return self.network.encode_text(*tokens, momentum=momentum)

    def fuse_texts(
        self,
        tokens: Tokens,
        image_tokens: Tensor,
        image_of_text: Tensor,
        attention_layers: Sequence[int] = (),
        create_graph: bool = False,
    ) -> Fusion:
        """See `MomentumBackbone.fuse_texts`; the texts begin with [ENC] instead of [CLS]."""
        return self.network.fuse(
            beginning_with(self.encode_id, tokens.ids),
            tokens.mask,
            image_tokens,
            image_of_text,
            attention_layers=attention_layers,
            create_graph=create_graph,
        )

    def fuse_hidden_texts(
        self, hidden: Tensor, tokens: Tokens, image_tokens: Tensor, image_of_text: Tensor
    ) -> Tensor:
        """All layers anew, with the image."""
        return self.fuse_texts(tokens, image_tokens, image_of_text).hidden

    def losses(
        self,
        encoded: EncodedImages,
        levels: Sequence[Texts],
        step: TrainingStep,
        mentioned: Sequence[frozenset[str]] | None = None,
    ) -> dict[str, Tensor]:
        """See `VisionLanguageBackbone.losses`. All levels are read at once, alone and with their images.

        The features of the first level are enqueued.
        """
        batch = len(encoded.tokens)
        tokens = self.tokenize([text for level in levels for text in level.texts])
        features = self.text_features(self.encode_texts(tokens), tokens)
        terms, pairs = self.contrast_levels(encoded, levels, features, step, mentioned)
        paired = Tokens(tokens.ids[pairs.texts], tokens.mask[pairs.texts])
        terms |= self.matching_terms(self.fuse_texts(paired, encoded.tokens, pairs.images).hidden, levels)
        terms["lm"] = self.language_modelling(Tokens(tokens.ids[:batch], tokens.mask[:batch]), encoded.tokens)
        self.network.enqueue(step.gather(encoded.features.momentum), step.gather(features.momentum[:batch]))
        return terms

    def language_modelling(self, tokens: Tokens, image_tokens: Tensor) -> Tensor:
        """LM of B texts, each written while looking at its image."""
        ids = beginning_with(self.decode_id, tokens.ids)
        logits = self.network.next_token_logits(ids, tokens.mask, image_tokens)
        return next_token_loss(logits, ids, tokens.mask, self.label_smoothing)

    def captions(
        self,
        images: Tensor,
        prompt: str = "a picture of",
        beams: Beams = Beams(),
    ) -> list[str]:
        """What the decoder says of images.

        Args:
            images: (N,3,H,W).
            prompt: what every caption begins with; it is cut off.
            beams: how captions are searched for.
        """
        ids = self.tokenize([prompt]).ids[0, :-1]
        ids[0] = self.decode_id
        end_id = self.tokenizer.closing_ids[0]
        texts = self.network.write_captions(self.encode(images), ids, end_id, beams)
        return [self.tokenizer.decode(text[len(ids) :]) for text in texts]


def beginning_with(first_id: int, ids: Tensor) -> Tensor:
    """The texts (M,T) with another first token.

    Example:
        >>> beginning_with(9, torch.tensor([[1, 2], [1, 3]])).tolist()
        [[9, 2], [9, 3]]
    """
    return torch.cat([torch.full_like(ids[:, :1], first_id), ids[:, 1:]], dim=1)
