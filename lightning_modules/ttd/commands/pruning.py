"""Scores the pairs of a training set chunk by chunk into files, and writes those that are kept as shards."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from commands.trainer import WeakgroundCLI
from datamodules.base import GroundingDataModule
from datamodules.batches import normalise
from datamodules.errors import DataError
from datamodules.kinds.training import UnchangedImages
from datamodules.storage.shards import ShardSource
from datamodules.storage.whole_files import whole_file, write_whole
from lightning_modules.errors import ModelError
from lightning_modules.ttd.module import TTDSelfDistill

CHUNK = 10_000  # pairs of a file of scores, and of a new shard
LIST = "pruned.json"


@dataclass(frozen=True)
class Pruning:
    """What is pruned where.

    Args:
        out: folder of the new shards.
        side: of the square images that are scored, in pixels.
        part: number of this process's part, from 0 on.
        parts: how many there are.
    """

    out: Path
    side: int = 224
    part: int = 0
    parts: int = 1


class PruneCLI(WeakgroundCLI):
    """Builds model and data as `fit` does, and prunes in place of training.

    Args:
        pruning: what is pruned where.
        arguments, options: of `WeakgroundCLI`.
    """

    def __init__(self, pruning: Pruning, *arguments: Any, **options: Any) -> None:
        self.pruning = pruning
        super().__init__(*arguments, **options)

    def _choose_checkpoint(self, config: Any) -> str:
        """None: the model as it is at the start."""
        return ""

    def _run_subcommand(self, subcommand: str) -> None:
        device = self.trainer.strategy.root_device
        print(prune(self.model, self.datamodule, self.pruning, device))  # type: ignore[arg-type]


def prune(
    module: Any, datamodule: GroundingDataModule, pruning: Pruning, device: torch.device | str = "cpu"
) -> str:
    """Scores what is not scored yet, and writes the shards if all is.

    Args:
        module: a `TTDSelfDistill`.
        datamodule: whose training set is pruned.
        pruning: what is pruned where.
        device: where images and texts are encoded.

    Returns:
        What was done, as one line.

    Raises:
        ModelError: another method.
        DataError: the training set is not made of shards.
    """
    if not isinstance(module, TTDSelfDistill):
        raise ModelError(
            f"`prune` compares images and captions by a TTDSelfDistill, not {type(module).__name__}."
        )
    source = datamodule.training_source()
    if not isinstance(source, ShardSource):
        raise DataError(f"`prune` reads shards, which {datamodule.name} is not made of.")
    starts = range(0, len(source), CHUNK)
    files = [pruning.out / "scores" / f"{datamodule.name}-{start // CHUNK:05d}.npy" for start in starts]
    module.eval().to(device)
    for start, path in list(zip(starts, files, strict=True))[pruning.part :: pruning.parts]:
        if not path.is_file():
            indices = range(start, min(start + CHUNK, len(source)))
            write_scores(path, score(module, datamodule, source, indices, pruning.side))
    missing = sum(not path.is_file() for path in files)
    if missing:
        return f"{datamodule.name}: {missing} of {len(files)} parts are still to be scored"
    return write_kept(pruning.out, datamodule.name, source, np.concatenate([np.load(path) for path in files]))


@torch.no_grad()
def score(
    module: TTDSelfDistill,
    datamodule: GroundingDataModule,
    source: ShardSource,
    indices: Sequence[int],
    side: int,
) -> np.ndarray:
    """(N,) float32 cosines of images, as they are and mirrored, and captions; NaN for unreadable images."""
    preprocessing = replace(module.preprocessing, image_size=side, resize="square", training=None)
    view = UnchangedImages(source, preprocessing, indices)
    loader = DataLoader(view, batch_size=32, num_workers=datamodule.num_workers, collate_fn=list)
    scores = np.full(len(indices), np.nan, np.float32)
    first = 0  # row of the batch's first image
    for items in tqdm(loader, unit=" batches", disable=not sys.stdout.isatty()):
        images = {row: item for row, item in enumerate(items, start=first) if isinstance(item, Tensor)}
        first += len(items)
        if images:
            pixels = normalise(torch.stack(list(images.values())).to(module.device), preprocessing)
            captions = [source.captions(indices[row])[0] for row in images]
            scores[list(images)] = cosines(module, pixels, captions).float().cpu().numpy()
    return scores


def cosines(module: TTDSelfDistill, images: Tensor, captions: list[str]) -> Tensor:
    """(N,3,S,S) images and their captions -> (N,), the mean over each image and its mirror image."""
    texts = module.network.encode_texts(captions)
    views = [module.network.encode_images(view) for view in (images, images.flip(-1))]
    return (torch.stack(views) * texts).sum(dim=-1).mean(dim=0)


def write_scores(path: Path, scores: np.ndarray) -> None:
    """Writes a file of scores whole or not at all."""
    content = io.BytesIO()
    np.save(content, scores)
    write_whole(path, content.getvalue())


def kept_indices(scores: np.ndarray) -> np.ndarray:
    """Which scores lie above the mean by more than a standard deviation.

    Example:
        >>> kept_indices(np.array([0.1, 0.2, 0.9, np.nan, 0.1])).tolist()
        [2]
    """
    return np.flatnonzero(scores > np.nanmean(scores) + np.nanstd(scores))


def write_kept(out: Path, name: str, source: ShardSource, scores: np.ndarray) -> str:
    """Writes the kept pairs of a set as shards behind those of other sets, and notes them in ``pruned.json``.

    Returns:
        What was kept, as one line.
    """
    path = out / LIST
    sets = json.loads(path.read_text()) if path.is_file() else {}
    kept = kept_indices(scores)
    if name not in sets:
        first = sum(entry["shards"] for entry in sets.values())
        shards = range(0, len(kept), CHUNK)
        for number, start in enumerate(shards, start=first):
            write_shard(out / f"{number:05d}.tar", name, source, kept[start : start + CHUNK].tolist())
        mean = float(np.nanmean(scores))
        std = float(np.nanstd(scores))
        counts = {"pairs": len(scores), "unreadable": int(np.isnan(scores).sum()), "kept": len(kept)}
        sets[name] = {"first": first, "shards": len(shards), "mean": mean, "std": std, **counts}
        write_whole(path, json.dumps(sets, indent=1))
    return f"{name}: {len(kept):,} of {len(scores):,} pairs kept, in {out} ({LIST} counts them)"


def write_shard(path: Path, name: str, source: ShardSource, indices: Sequence[int]) -> None:
    """Writes pairs as a tar file of images and texts."""
    with whole_file(path) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for index in indices:
            key = f"{name}_{index:09d}"
            _add(archive, f"{key}.jpg", source.encoded_image(index))
            _add(archive, f"{key}.txt", source.captions(index)[0].encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
