"""What ALBEF and BLIP share: two encoders, a contrastive space with momentum twins and queues, matching.

Legend: N images, B texts, Q texts that are queries, P = h*w patches, L = 1 + P image tokens (the class token
first), T text tokens, D vision width, W text width, E embedding width, H heads, K queue size.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers.bert import BertModel, BertSize
from networks.layers.class_activation import grad_mode_of
from networks.layers.published_layouts import check_shapes, holds_nothing_of, unwrapped
from networks.layers.vit import ImageTokens, resize_position_embedding

MOMENTUM_TWINS = ("visual_encoder", "vision_proj", "text_encoder", "text_proj")
QUEUES = ("image_queue", "text_queue", "queue_ptr")


class Fusion(NamedTuple):
    """Texts fused with their images.

    Args:
        hidden: (Q,T,W).
        attentions: the cross-attention probabilities (Q,H,T,L), before dropout, of each layer asked for.
    """

    hidden: Tensor
    attentions: tuple[Tensor, ...]


@dataclass(frozen=True)
class ContrastSize:
    """Of the contrastive part; ALBEF's by default.

    Args:
        embed_dim: E of the shared space.
        queue_size: K, features of earlier batches that serve as negatives; 57,600 in BLIP.
        momentum: of the momentum twins.
        temperature: at the start; it is learnt.

    Raises:
        ValueError: an empty queue, or a momentum outside [0, 1].
    """

    embed_dim: int = 256
    queue_size: int = 65536
    momentum: float = 0.995
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.queue_size < 1:
            raise ValueError(f"a queue must hold at least one feature, not {self.queue_size}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], not {self.momentum}")


class MomentumContrast(nn.Module, ABC):
    """Base of ALBEF and BLIP.

    Args:
        visual_encoder: of the images.
        text_encoder: of the texts.
        text: its size.
        contrast: of the contrastive part.

    Attributes:
        optional_weights: pieces of the names of what published weights may lack.
    """

    optional_weights: tuple[str, ...] = ()
    image_queue: Tensor
    text_queue: Tensor
    queue_ptr: Tensor

    def __init__(
        self,
        visual_encoder: ImageTokens,
        text_encoder: nn.Module,
        text: BertSize,
        contrast: ContrastSize,
    ) -> None:
        super().__init__()
        self.image_size = visual_encoder.image_size
        self.vocab_size = text.vocab_size
        self.max_positions = text.max_positions
        self.heads = text.heads
        self.momentum = contrast.momentum
        self.visual_encoder = visual_encoder
        self.text_encoder = text_encoder
        self.vision_proj = nn.Linear(visual_encoder.width, contrast.embed_dim)
        self.text_proj = nn.Linear(text.width, contrast.embed_dim)
        self.itm_head = nn.Linear(text.width, 2)
        self.temp = nn.Parameter(torch.tensor(float(contrast.temperature)))
        for name in MOMENTUM_TWINS:
            self.add_module(f"{name}_m", copy.deepcopy(getattr(self, name)).requires_grad_(False))
        for name in ("image_queue", "text_queue"):
            features = torch.randn(contrast.embed_dim, contrast.queue_size)
            self.register_buffer(name, F.normalize(features, dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    @property
    @abstractmethod
    def bert(self) -> BertModel:
        """The text encoder proper, whose cross-attention is explained."""

    @property
    @abstractmethod
    def map_layer(self) -> int:
        """The text layer that maps are read from unless another is chosen, counted from 0."""

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patches, and so of every map."""
        return self.visual_encoder.grid

    def attention_layers(self, layers: Sequence[int] | None) -> tuple[int, ...]:
        """The text layers whose cross-attention is explained, counted from 0.

        Args:
            layers: a choice among the layers with cross-attention; None for the published model's 9th layer,
                which all public code reads, or its counterpart in a smaller one.

        Raises:
            ValueError: no layer, or one without cross-attention.
        """
        first = self.bert.fusion_layer
        depth = len(self.bert.encoder.layer)
        if layers is None:
            return (min(self.map_layer, depth - 1),)
        if not layers:
            raise ValueError("maps.layers must name a layer, or be left out")
        for layer in layers:
            if not first <= layer < depth:
                raise ValueError(
                    f"maps.layers: layer {layer} has no cross-attention; choose from {first} to {depth - 1}"
                )
        return tuple(layers)

    # Images, and the space that they share with texts.

    def encode_image(self, images: Tensor, momentum: bool = False) -> Tensor:
        """(N,3,height,width), normalised -> (N,L,D)."""
        return self._part("visual_encoder", momentum)(images)

    def image_feature(self, image_embeds: Tensor, momentum: bool = False) -> Tensor:
        """(N,L,D) -> (N,E), L2-normalised, float32."""
        return F.normalize(self._part("vision_proj", momentum)(image_embeds[:, 0]).float(), dim=-1)

    def text_feature(self, text_embeds: Tensor, momentum: bool = False) -> Tensor:
        """(B,T,W) -> (B,E), L2-normalised, float32."""
        return F.normalize(self._part("text_proj", momentum)(text_embeds[:, 0]).float(), dim=-1)

    def match_logits(self, hidden: Tensor) -> Tensor:
        """(Q,T,W) after fusion -> (Q,2), class 1 = match.

        Differentiable whenever ``hidden`` is, also where the caller has gradients off.
        """
        with grad_mode_of(hidden), torch.autocast(hidden.device.type, enabled=False):
            return self.itm_head(hidden[:, 0].to(self.itm_head.weight.dtype))

    # Training.

    def language_parameters(self) -> list[nn.Parameter]:
        """Those that contrast and matching make no use of, and language modelling alone trains."""
        others = (self.visual_encoder, self.bert, self.vision_proj, self.text_proj, self.itm_head)
        used = {self.temp, *(parameter for part in others for parameter in part.parameters())}
        return [
            parameter for parameter in self.parameters() if parameter.requires_grad and parameter not in used
        ]

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Keeps ``temp`` in [0.001, 0.5], in place."""
        self.temp.clamp_(0.001, 0.5)

    @torch.no_grad()
    def update_momentum(self) -> None:
        """Twins := momentum * twins + (1 - momentum) * online, over the parameters that are trained.

        Once a step, before the momentum features (reference code).
        """
        twins: list[Tensor] = []
        online: list[Tensor] = []
        for name in MOMENTUM_TWINS:
            parameters = self._part(name, momentum=False).parameters()
            twin_parameters = self._part(name, momentum=True).parameters()
            for parameter, twin in zip(parameters, twin_parameters, strict=True):
                # Even equal numbers are not left as they are: a negative zero becomes a positive one.
                if parameter.requires_grad:
                    online.append(parameter)
                    twins.append(twin)
        torch._foreach_lerp_(twins, online, 1 - self.momentum)

    @torch.no_grad()
    def enqueue(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Writes (B,E) features of both kinds over the oldest ones.

        It wraps around where B does not divide the queue.
        In place, so after the losses have copied what they need of the queues. Of more than K features the
        last K stay.

        Returns:
            (min(B,K),) long, where the last of them are in the queues now.
        """
        size = self.image_queue.shape[1]
        count = len(image_features)
        positions = (self.queue_ptr + torch.arange(count, device=self.queue_ptr.device))[-size:] % size
        for queue, features in ((self.image_queue, image_features), (self.text_queue, text_features)):
            queue.index_copy_(1, positions, features[-size:].T.to(queue.dtype))
        self.queue_ptr.add_(count).remainder_(size)
        return positions

    # Checkpoints.

    def adapt_state_dict(self, state: Mapping[str, object]) -> dict[str, Tensor]:
        """A checkpoint of any public layout -> one that this model loads strictly.

        Accepts weights wrapped in ``model`` or flat, with ``module.`` before the names, with or without
        momentum twins (then the online weights), queues and pointer (then this model's own), learned at
        another image size (positions are resized), and what the model itself knows of its layouts. A queue of
        another length is replaced by this model's own. What `optional_weights` names may stay missing, and
        names that belong to nothing here stay as they are, for the caller to report.

        Raises:
            ValueError: when nothing matches, or the checkpoint is of another size.
        """
        own = self.state_dict()
        adapted = {self.official_name(name): tensor for name, tensor in unwrapped(state).items()}
        if not any(name in own for name in adapted if name != "temp" and name not in QUEUES):
            raise holds_nothing_of(self, state)
        for name in ("visual_encoder.pos_embed", "visual_encoder_m.pos_embed"):
            if name in adapted:
                adapted[name] = resize_position_embedding(adapted[name], self.grid)
        self.fill_tied_names(adapted, own)
        for name in own:
            online = name.replace("_m.", ".", 1)
            if name not in adapted and name.partition("_m.")[0] in MOMENTUM_TWINS and online in adapted:
                adapted[name] = adapted[online]
        _fill_queues(adapted, own)
        check_shapes(adapted, own)
        return adapted

    @abstractmethod
    def official_name(self, name: str) -> str:
        """The name that a tensor of a public layout has in the pre-training model."""

    @abstractmethod
    def fill_tied_names(self, state: dict[str, Tensor], own: Mapping[str, Tensor]) -> None:
        """Adds buffers of positions and further names of tied tensors, in place; not all layouts write them.

        Args:
            state: under official names.
            own: the state of this model.
        """

    def _part(self, name: str, momentum: bool) -> Any:
        return getattr(self, f"{name}_m" if momentum else name)


def refuse_inference_mode(*inputs: Tensor) -> None:
    """Raises RuntimeError where maps are asked for and no gradient can be taken."""
    if torch.is_inference_mode_enabled() or any(tensor.is_inference() for tensor in inputs):
        raise RuntimeError(
            "class activation maps need gradients, which inference mode forbids: set inference_mode to "
            "false (no_grad is fine)"
        )


def _fill_queues(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """This model's own queues and pointer where the checkpoint has none of their length."""
    for queue in ("image_queue", "text_queue"):
        if queue not in state or state[queue].shape[-1] != own[queue].shape[-1]:
            state |= {name: own[name].clone() for name in QUEUES}
            break
    state.setdefault("queue_ptr", torch.zeros_like(own["queue_ptr"]))
