"""ALBEF as a backbone (Li et al. 2021, arXiv:2107.07651)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_modules.backbones.base import Texts, TrainingStep
from lightning_modules.backbones.losses import legacy_distillation, mask_tokens, masked_language_loss
from lightning_modules.backbones.momentum import EncodedImages, MomentumBackbone
from lightning_modules.backbones.options import DistillationOptions
from lightning_modules.vocabulary import read_vocabulary
from networks.albef import ALBEF, AlignBeforeFuse
from networks.layers.momentum_contrast import Fusion
from networks.layers.tokenizer import Tokens, pre_caption


class MaskedTexts(NamedTuple):
    """The masked copies of the first level's B texts.

    Args:
        tokens: the texts as they are.
        masked_ids: (B,T) ids, some of them masked.
        chosen: (B,T) bool, the tokens to be predicted.
    """

    tokens: Tokens
    masked_ids: Tensor
    chosen: Tensor


class AlignBeforeFuseBackbone(MomentumBackbone):
    """Base of ALBEF and its kin: texts of WordPiece, ITC + ITM + MLM, maps of the cross-attention.

    Args:
        network: of any size.
        tokens: the vocabulary in the order of its ids.
        mlm_probability: share of masked tokens; 0 leaves masked language modelling out.
        distillation: how much of the momentum model is in the targets.
        max_tokens: tokens kept in training, special ones included. Evaluation keeps all that the network has
            positions for.
        options: as for `MomentumBackbone`.
    """

    language_term: ClassVar[str] = "mlm"
    network: AlignBeforeFuse
    distillation: DistillationOptions

    def __init__(
        self,
        network: AlignBeforeFuse,
        tokens: list[str],
        mlm_probability: float,
        distillation: DistillationOptions = DistillationOptions(),
        max_tokens: int = 25,
        **options: Any,
    ) -> None:
        super().__init__(network, tokens, distillation=distillation, max_tokens=max_tokens, **options)
        self.mlm_probability = mlm_probability

    def clean(self, text: str) -> str:
        """See `MomentumBackbone.clean`."""
        return pre_caption(text, self.max_words)

    def encode_texts(self, tokens: Tokens, momentum: bool = False) -> Tensor:
        """The layers below the fusion."""
        return self.network.encode_text(*tokens, momentum=momentum)

    def fuse_texts(
        self,
        tokens: Tokens,
        image_tokens: Tensor,
        image_of_text: Tensor,
        attention_layers: Sequence[int],
        create_graph: bool = False,
    ) -> Fusion:
        """See `MomentumBackbone.fuse_texts`."""
        return self.network.fuse(
            self.encode_texts(tokens),
            tokens.mask,
            image_tokens,
            image_of_text,
            attention_layers=attention_layers,
            create_graph=create_graph,
        )

    def fuse_hidden_texts(
        self, hidden: Tensor, tokens: Tokens, image_tokens: Tensor, image_of_text: Tensor
    ) -> Tensor:
        """The layers from the fusion on."""
        return self.network.fuse(hidden, tokens.mask, image_tokens, image_of_text).hidden

    def losses(
        self,
        encoded: EncodedImages,
        levels: Sequence[Texts],
        step: TrainingStep,
        mentioned: Sequence[frozenset[str]] | None = None,
    ) -> dict[str, Tensor]:
        """See `VisionLanguageBackbone.losses`. Text and fusion encoder run once for all levels.

        The features of the first level are enqueued.
        """
        network = self.network
        batch = len(encoded.tokens)
        matched = batch * len(levels)
        masked = batch if self.mlm_probability else 0
        rows = torch.arange(batch, device=self.device)
        tokens = self.tokenize([text for level in levels for text in level.texts])
        first = self.mask(Tokens(tokens.ids[:masked], tokens.mask[:masked]))
        mask = torch.cat([tokens.mask, first.tokens.mask])
        hidden = network.encode_text(torch.cat([tokens.ids, first.masked_ids]), mask)
        features = self.text_features(hidden[:matched], tokens)

        terms, pairs = self.contrast_levels(encoded, levels, features, step, mentioned)
        text_of_row = torch.cat([pairs.texts, matched + rows[:masked]])
        image_of_row = torch.cat([pairs.images, rows[:masked]])
        fused = network.fuse(hidden[text_of_row], mask[text_of_row], encoded.tokens, image_of_row).hidden

        terms |= self.matching_terms(fused[: len(pairs.texts)], levels)
        terms["mlm"] = torch.zeros((), device=self.device)
        if masked:
            terms["mlm"] = self.masked_language_term(fused[len(pairs.texts) :], first, encoded, step)
        network.enqueue(step.gather(encoded.features.momentum), step.gather(features.momentum[:batch]))
        return terms

    def mask(self, tokens: Tokens) -> MaskedTexts:
        """Masks tokens at random."""
        tokenizer = self.tokenizer
        special_ids = [tokenizer.pad_id, tokenizer.cls_id, *tokenizer.closing_ids]
        masked_ids, chosen = mask_tokens(
            tokens.ids, special_ids, tokenizer.mask_id, tokenizer.vocab_size, self.mlm_probability
        )
        return MaskedTexts(tokens, masked_ids, chosen)

    def masked_language_term(
        self, fused: Tensor, texts: MaskedTexts, encoded: EncodedImages, step: TrainingStep
    ) -> Tensor:
        """MLM from the fused masked texts (B,T,W); the momentum model reads the same masked texts."""
        network = self.network
        alpha = self.distillation_share(step)
        logits = network.mlm_logits(fused[texts.chosen])
        labels = texts.tokens.ids[texts.chosen]
        if not alpha:
            return masked_language_loss(logits, labels, None, 0.0)
        legacy = self.distillation.legacy_mlm
        mask = texts.tokens.mask
        with torch.no_grad():
            hidden = network.encode_text(texts.masked_ids, mask, momentum=True)
            hidden = network.fuse(hidden, mask, encoded.momentum_tokens, momentum=True).hidden
            predicted = hidden if legacy else hidden[texts.chosen]
            momentum_logits = network.mlm_logits(predicted, momentum=True)
        if legacy:
            soft = legacy_distillation(network.mlm_logits(fused), texts.chosen, momentum_logits)
            return (1 - alpha) * masked_language_loss(logits, labels, None, 0.0) + alpha * soft
        return masked_language_loss(logits, labels, momentum_logits, alpha)


class ALBEFBackbone(AlignBeforeFuseBackbone):
    """ALBEF as published.

    Args:
        network: the ALBEF network, of any size.
        vocabulary: file of BERT's vocabulary, a token a line.
        mlm_probability: share of masked tokens; 0 leaves masked language modelling out.
        add_sep: close texts with [SEP]. ALBEF's weights never saw one there.
        options: as for `AlignBeforeFuseBackbone`.

    Raises:
        ModelError: the vocabulary is missing, or is not of the network's size.
    """

    network: ALBEF

    def __init__(
        self,
        network: ALBEF,
        vocabulary: Path,
        mlm_probability: float = 0.15,
        add_sep: bool = False,
        **options: Any,
    ) -> None:
        tokens = read_vocabulary(Path(vocabulary))
        super().__init__(network, tokens, mlm_probability, add_sep=add_sep, **options)
