"""Phrase alignment at its smallest: towers with random weights in place of published ones."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from networks.dual_encoder import DualEncoder, PlaceMaps
from networks.photo_encoders import ImageTower, SentenceTower
from tests.tiny import GROUNDING, SCENE_WORDS, SCENES, Tiny


def tiny_sentence_tower() -> SentenceTower:
    words = Path(SCENE_WORDS).read_text().split()
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*ends)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    return SentenceTower(BertModel(config).eval(), tokenizer)


class TinyEncoder(DualEncoder):
    """Two towers of timm's test networks, whose weights depend on no seed but this one."""

    def __init__(
        self, towers: int = 1, strides: tuple[int, ...] = (32,), maps: PlaceMaps | None = None
    ) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            images = [ImageTower("test_efficientnet") for _ in range(towers)]
            maps = maps or PlaceMaps(scales=(32, 64))
            super().__init__(images, tiny_sentence_tower(), strides, expanded=24, dropout=0.0, maps=maps)


MODEL = {
    "encoder": {"class_path": f"{__name__}.TinyEncoder"},
    "options": {"training_size": 32},
    "optimisation": {"lr": 1e-3},
}
TINY = {"PhraseAlignment": Tiny(MODEL, SCENES, GROUNDING, "val/scenes/clean/pointing_game")}
