"""The vocabulary file of a BERT-like text encoder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lightning_modules.errors import ModelError
from lightning_modules.project_files import project_file


def read_vocabulary(path: Path, option: str = "--model.backbone.vocabulary") -> list[str]:
    """The tokens in the order of their ids, one a line.

    Args:
        path: of the file.
        option: the command-line option that names the file, for messages.

    Raises:
        ModelError: no such file, or one without the special tokens.
    """
    path = project_file(path)
    if not path.is_file():
        raise ModelError(
            f"vocabulary {path.absolute()} not found; ALBEF and BLIP use vocab.txt of bert-base-uncased: "
            "`python cli.py prepare bert-vocabulary --download` fetches it to data/bert (Apache-2.0), or set "
            f"{option}."
        )
    tokens = path.read_text(encoding="utf-8").splitlines()
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[MASK]") if token not in tokens]
    if missing:
        raise ModelError(
            f"{path} is no vocabulary of BERT's: {', '.join(missing)} missing; it must hold one token a line."
        )
    return tokens


def check_size(tokens: list[str], vocab_size: int) -> None:
    """Refuses a vocabulary that is not of its network's size.

    Raises:
        ModelError: it has more or fewer tokens.
    """
    if len(tokens) != vocab_size:
        raise ModelError(
            f"the vocabulary has {len(tokens)} tokens and the network's text.vocab_size is {vocab_size}; "
            "make them equal."
        )


def vocabulary_digest(tokens: list[str]) -> str:
    """A short fingerprint by which a checkpoint knows its vocabulary."""
    return hashlib.sha256("\n".join(tokens).encode()).hexdigest()[:16]


def check_digest(stored: str, own: str, option: str) -> None:
    """Refuses the checkpoint of another vocabulary.

    Args:
        stored: fingerprint of the checkpoint's vocabulary.
        own: fingerprint of this module's vocabulary.
        option: the command-line option that names the file, for messages.

    Raises:
        ModelError: they are not the same.
    """
    if stored != own:
        raise ModelError(f"the checkpoint was trained with another vocabulary; set {option} to that file.")
