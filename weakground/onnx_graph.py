"""A grounder as an ONNX graph: an image and token ids in, heat maps out.

Legend: Q phrases, T tokens of each, D numbers of a text's vector, H x W pixels, h x w the grid of the maps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules.storage.images import resize_image, to_tensor
from lightning_modules.alignment.module import PhraseAlignment
from lightning_modules.errors import ModelError
from lightning_modules.similarity_map.base import SimilarityMapModule
from lightning_modules.ttd.module import TTDSelfDistill
from networks.dense_dual_encoder import DenseDualEncoder
from networks.dual_encoder import DualEncoder
from networks.image_text_encoder import Places
from weakground.grounder import Grounder

OPSET = 18


class Inputs(NamedTuple):
    """What the graph takes.

    Args:
        image: (1,3,H,W) float32 RGB in [0,1], the whole photograph squashed to this size.
        ids: (Q,T) int64, token ids.
    """

    image: Tensor
    ids: Tensor


class Graph(nn.Module):
    """What is exported of a grounder.

    Args:
        grounder: of phrase alignment, g, g++ or TTD.

    Raises:
        ModelError: the module is another one.
    """

    def __init__(self, grounder: Grounder) -> None:
        super().__init__()
        module = grounder.module
        self.preprocessing = module.preprocessing
        self.side = module.preprocessing.image_size
        self.grounder = grounder
        self.texts = _texts_of(module)
        self.resizing: dict[int, Tensor] = {}
        self.maps = self._maps_of(module)

    def _maps_of(self, module: Any) -> Any:
        """The function that makes maps of an image and of texts' vectors."""
        if isinstance(module, SimilarityMapModule):
            self.network: nn.Module = module.network
            return self._maps_of_g
        self.network = module.network
        if isinstance(self.texts, DualEncoder):
            for scale in self.texts.maps.scales:
                if scale != self.side:
                    self.resizing[scale] = resizing_matrix(self.side, scale)
            return self._maps_of_places
        return self._maps_of_pixels

    def forward(self, image: Tensor, ids: Tensor) -> Tensor:
        """See `Inputs`; returns (Q,h,w) in [0,1], over the whole photograph."""
        mean = image.new_tensor(self.preprocessing.mean).view(1, 3, 1, 1)
        std = image.new_tensor(self.preprocessing.std).view(1, 3, 1, 1)
        return self.maps((image - mean) / std, self.texts.encode_tokens(ids))

    def _maps_of_places(self, image: Tensor, vectors: Tensor) -> Tensor:
        views: list[Places] = self.texts.encode_views(image, self._resized)
        return self.texts.heatmaps_of_vectors(views, vectors, torch.zeros(1, dtype=torch.long))

    def _resized(self, image: Tensor, scale: int) -> Tensor:
        """As `networks.dual_encoder.at_scale`, whose smoothing ONNX's resizing does otherwise."""
        if scale == self.side:
            return image
        matrix = self.resizing[scale].to(image)
        return matrix @ image @ matrix.T

    def _maps_of_g(self, image: Tensor, vectors: Tensor) -> Tensor:
        network: Any = self.network
        places = network.encode(image).places.expand(vectors.shape[0], -1, -1, -1)
        return network.masks(places, vectors, (self.side, self.side))

    def _maps_of_pixels(self, image: Tensor, vectors: Tensor) -> Tensor:
        network: Any = self.network
        return network.masks(image, vectors)[0]

    # What a caller does before.

    def inputs(self, photo: np.ndarray, phrases: Sequence[str]) -> Inputs:
        """(H,W,3) uint8 RGB and Q phrases as the graph takes them."""
        preprocessing = self.preprocessing
        pixels = to_tensor(resize_image(photo, preprocessing))[None].float() / 255
        if pixels.shape[2:] != (self.side, self.side):
            height, width = pixels.shape[2:]
            raise ModelError(
                f"the model would see this photograph at {width}x{height}, and the graph takes "
                f"{self.side}x{self.side} alone; take a square one."
            )
        module = self.grounder.module
        texts = [f"{self.grounder.rules.prompt}{phrase}" for phrase in phrases]
        if isinstance(module, SimilarityMapModule):
            texts = module.prompted(texts)
        return Inputs(pixels, tokenize(self.texts, texts))


def _texts_of(module: Any) -> Any:
    """What encodes the texts of a module. Raises `ModelError` if its maps cannot be exported."""
    if isinstance(module, PhraseAlignment):
        return module.network
    if isinstance(module, SimilarityMapModule):
        return module.clip
    if isinstance(module, TTDSelfDistill):
        backbone = module.network
        return backbone.encoder if isinstance(backbone, DenseDualEncoder) else backbone
    raise ModelError(
        f"the maps of {type(module).__name__} cannot be an ONNX graph: only phrase alignment, g, g++ and TTD "
        "compute them forwards; those of ALBEF and BLIP are made of gradients, which a graph does not hold."
    )


def tokenize(encoder: Any, texts: Sequence[str]) -> Tensor:
    """(Q,T) long, texts as an encoder's ``encode_tokens`` takes them."""
    tokenizer = encoder.tokenize if hasattr(encoder, "tokenize") else encoder.tokenizer
    return tokenizer(list(texts))


def resizing_matrix(before: int, after: int) -> Tensor:
    """(after, before): bicubic resizing with smoothing, of columns of pixels.

    Example:
        >>> resizing_matrix(4, 2).sum(1)
        tensor([1., 1.])
    """
    identity = torch.eye(before)[None, None]
    size = (after, before)
    return F.interpolate(identity, size=size, mode="bicubic", align_corners=False, antialias=True)[0, 0]


@torch.no_grad()
def export(grounder: Grounder, path: Path) -> Graph:
    """Writes ``path``, and beside it ``<path>.json`` with what a caller must know.

    Returns:
        The graph as it runs in torch, in evaluation mode.

    Raises:
        ModelError: see `Graph`.
    """
    graph = Graph(grounder).eval()
    side = graph.side
    inputs = graph.inputs(np.zeros((side, side, 3), np.uint8), ["a dog", "the man on the left"])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        graph,
        tuple(inputs),
        str(path),
        input_names=list(Inputs._fields),
        output_names=["heatmaps"],
        dynamic_shapes={"image": None, "ids": {0: torch.export.Dim("phrases", min=1)}},
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    content = {
        "image": f"(1, 3, {side}, {side}) float32, RGB from 0 to 1, the photograph squashed to this size",
        "interpolation": graph.preprocessing.interpolation,
        "ids": f"(phrases, {inputs.ids.shape[1]}) int64, token ids, filled up with zeros",
        "heatmaps": "(phrases, h, w) float32 from 0 to 1, over the whole photograph",
        "prompt": _prompt(grounder),
    }
    description = path.with_name(f"{path.name}.json")
    description.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if isinstance(graph.texts, DualEncoder):
        graph.texts.text_tower.tokenizer.save(str(path.with_name(f"{path.stem}.tokenizer.json")))
    return graph


def _prompt(grounder: Grounder) -> str:
    """What stands before each phrase."""
    module = grounder.module
    if isinstance(module, SimilarityMapModule):
        return module.texts.prompt
    return grounder.rules.prompt
