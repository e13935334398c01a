"""An ALBEF on photographs: image tokens from a frozen dual encoder, text layers from its sentence encoder.

Only the layers that fuse, one or two above the image, and the heads are trained; so little data goes a long
way, and the features of images can be stored. The cross-attention may start from what the dual encoder has
learnt of phrases and places (``aligned``) or from scratch.

Legend: N images, B texts, h x w places, P = h*w, D numbers of a place's vector, which are as many as those of
a text token, T text tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from networks.albef import AlignBeforeFuse
from networks.dual_encoder import DualEncoder
from networks.layers.bert import BertSize
from networks.layers.momentum_contrast import ContrastSize
from networks.layers.vit import Block, ImageTokens, resize_position_embedding, square_grid


@dataclass(frozen=True)
class FusionOptions:
    """The trained layers.

    Args:
        layers: text layers that see the image, above those of the sentence encoder.
        image_layers: transformer layers above the places of the dual encoder.
        start: of the cross-attention. ``aligned``: a token looks where the dual encoder finds it, and the
            other branches add nothing at first. ``scratch``: random weights, as in ALBEF.
        sharpness: with ``aligned``, what cosines of token and place are multiplied by before the soft-max, in
            the mean over heads.
    """

    layers: int = 2
    image_layers: int = 1
    start: Literal["aligned", "scratch"] = "aligned"
    sharpness: float = 18.0


class PlaceTokens(ImageTokens):
    """From the places of a dual encoder to image tokens; at the start, the tokens are the places.

    Args:
        width: D.
        depth: transformer layers.
        heads: of each attention.
        stride: pixels from one place to the next.
        image_size: side of the images that are judged, in pixels.
        training_size: side of training images, in pixels.
    """

    def __init__(
        self, width: int, depth: int, heads: int, stride: int, image_size: int, training_size: int
    ) -> None:
        super().__init__()
        self.width = width
        self.image_size = image_size
        self.grid = (-(-image_size // stride),) * 2
        places = (-(-training_size // stride)) ** 2
        self.project = nn.Linear(width, width)
        nn.init.eye_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        # The first is that of the whole image, as in a ViT, so that they are resized by the same rule.
        self.positions = nn.Parameter(torch.zeros(1, 1 + places, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        for block in self.blocks:
            silence(block.attn.proj)  # type: ignore[union-attr, arg-type]
            silence(block.mlp.fc2)  # type: ignore[union-attr, arg-type]

    def forward(self, places: Tensor) -> Tensor:
        """(N,h,w,D) vectors of places -> (N,1+P,D).

        They are scaled so that a place of mean length has a number of mean square 1 in each channel, which is
        what attention expects; a longer vector, of an object whatever the phrase, keeps its weight.
        """
        vectors = places.flatten(1, 2)
        lengths = vectors.norm(dim=-1).mean(1).clamp(min=1e-6)
        tokens = self.project(vectors * (self.width**0.5 / lengths[:, None, None]))
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1)
        tokens = tokens + resize_position_embedding(self.positions, square_grid(vectors.shape[1]))
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class PhotoALBEF(AlignBeforeFuse):
    """ALBEF on a dual encoder of photographs.

    Args:
        encoder: the dual encoder. Its image towers and heads stay as they are, and so do the text layers,
            which are those of its sentence encoder.
        fusion: the trained layers.
        contrast: of the contrastive part; its ``embed_dim`` must be D for an aligned start.
        training_size: side of training images, in pixels.

    Raises:
        ValueError: an aligned start into a contrastive space of another size.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        fusion: FusionOptions = FusionOptions(),
        contrast: ContrastSize = ContrastSize(),
        training_size: int = 224,
    ) -> None:
        sentence_bert: Any = encoder.text_tower.bert
        size = bert_size(sentence_bert.config, fusion.layers)
        if fusion.start == "aligned" and contrast.embed_dim != encoder.dim:
            raise ValueError(
                f"an aligned start needs a contrastive space of {encoder.dim} numbers, as the dual encoder "
                f"has, and not of {contrast.embed_dim}: set contrast.embed_dim to {encoder.dim}."
            )
        tokens = PlaceTokens(
            encoder.dim,
            fusion.image_layers,
            size.heads,
            min(encoder.strides),
            encoder.image_size,
            training_size,
        )
        text_layers = size.depth - fusion.layers
        super().__init__(tokens, size, contrast, fusion_layer=text_layers)
        self.photo_encoder = encoder
        self.training_size = training_size
        text_parts = ["embeddings", *(f"encoder.layer.{number}" for number in range(text_layers))]
        of_texts = [
            f"{half}.bert.{part}" for half in ("text_encoder", "text_encoder_m") for part in text_parts
        ]
        self.frozen_parts = ("photo_encoder", *of_texts)
        # A checkpoint of a run lacks what comes with packages.
        self.optional_weights = (*type(self).optional_weights, *(f"{part}." for part in self.frozen_parts))
        state = {
            name: value
            for name, value in sentence_bert.state_dict().items()
            if not name.startswith("pooler.")
        }
        self._start(state, fusion)

    @torch.no_grad()
    def _start(self, sentence_state: dict[str, Tensor], fusion: FusionOptions) -> None:
        """Gives the text layers the sentence encoder's weights, and aligns the rest if it is to be."""
        own = self.bert.state_dict()
        self.bert.load_state_dict(
            {**own, **{name: sentence_state[name] for name in own if name in sentence_state}}
        )
        if fusion.start == "aligned":
            projection = self.photo_encoder.text_projection.weight
            # The logits of a head are its share of query @ key / sqrt(D / heads), where both are about as
            # long as sqrt(D): cosine * sqrt(D / heads) in the mean.
            width = self.photo_encoder.dim
            scale = (fusion.sharpness / (width / self.heads) ** 0.5) ** 0.5
            self.text_proj.weight.copy_(projection)
            self.vision_proj.weight.copy_(torch.eye(width))
            for layer in list(self.bert.encoder.layer)[self.bert.fusion_layer :]:
                attention: Any = layer
                silence(attention.attention.output.dense)
                silence(attention.output.dense)
                attention.crossattention.self.query.weight.copy_(scale * projection)
                attention.crossattention.self.key.weight.copy_(scale * torch.eye(width))
        for name in ("text_encoder", "text_proj", "vision_proj"):
            self.get_submodule(f"{name}_m").load_state_dict(self.get_submodule(name).state_dict())

    @property
    def map_layer(self) -> int:
        """The first with cross-attention: the aligned one, before later layers mix its tokens."""
        return self.bert.fusion_layer

    def encode_image(self, images: Tensor, momentum: bool = False) -> Tensor:
        """Images, or the stored features of training images, as tokens.

        Args:
            images: (N,3,H,W) normalised, or (N,F) from `networks.dual_encoder.DualEncoder.flatten`.
            momentum: use the momentum twin.

        Returns:
            (N,1+P,D).
        """
        encoder = self.photo_encoder
        with torch.no_grad():
            places = encoder.places(encoder.features_or_stored(images, self.training_size))
        return self._part("visual_encoder", momentum)(places)

    def encode_text(self, ids: Tensor, mask: Tensor, momentum: bool = False) -> Tensor:
        """As `AlignBeforeFuse.encode_text`; the first token is the sentence, the mean of all tokens.

        That is what the sentence encoder was trained for; its first token means nothing by itself.
        """
        hidden = super().encode_text(ids, mask, momentum)
        weights = mask[..., None].to(hidden.dtype)
        sentence = (hidden * weights).sum(1) / weights.sum(1)
        return torch.cat([sentence[:, None], hidden[:, 1:]], dim=1)


def bert_size(config: Any, fusion_layers: int) -> BertSize:
    """A sentence encoder of transformers with some layers on top; dropout is off, as most of it is frozen."""
    return BertSize(
        width=config.hidden_size,
        depth=config.num_hidden_layers + fusion_layers,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocab_size=config.vocab_size,
        max_positions=config.max_position_embeddings,
        pad_id=config.pad_token_id,
        dropout=0.0,
    )


def silence(layer: nn.Linear) -> None:
    """Sets the last layer of a residual branch to zero, so that the branch adds nothing at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
