"""Noun phrases and their subjects from captions: by rules (the default), by spaCy, or by a language model.

Importing this package loads neither spaCy nor transformers.
"""

from datamodules.chunkers.base import Chunker
from datamodules.chunkers.llm import LLMChunker
from datamodules.chunkers.rules import RuleChunker
from datamodules.chunkers.spacy_chunker import SpacyChunker

__all__ = ["Chunker", "LLMChunker", "RuleChunker", "SpacyChunker"]
