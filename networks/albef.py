"""ALBEF (Li et al., Align before Fuse, 2021) under its official key names, of any size.

Image tokens come from a vision transformer; text passes through the lower layers of BERT alone and through
the upper ones together with the image. Contrastive features, a matching head, a masked language head,
momentum twins and feature queues as in the reference pretraining model. Losses are made elsewhere, from the
parts given here.

Legend: N images, B texts, Q texts that are queries, P = h*w patches, L = 1 + P image tokens (the class token
first), T text tokens, D vision width, W text width, E embedding width, H heads, V vocabulary, K queue size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers.bert import BertModel, BertSize
from networks.layers.class_activation import grad_mode_of
from networks.layers.language_head import BertForMaskedLM
from networks.layers.vit import VisionTransformer, ViTSize, resize_position_embedding

MOMENTUM_TWINS = ("visual_encoder", "vision_proj", "text_encoder", "text_proj")
QUEUES = ("image_queue", "text_queue", "queue_ptr")
POINTER_NAMES = ("queue_ptr", "queue_ptr_img", "ptr_queue")
DROPPED_NAMES = ("queue_ptr_txt", "idx_queue")


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
    """Of the contrastive part; the published model's by default.

    Args:
        embed_dim: E of the shared space.
        queue_size: K, features of earlier batches that serve as negatives.
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


class ALBEF(nn.Module):
    """The pre-training model; all sizes are the published ones by default.

    Args:
        vision: of the vision transformer.
        text: of BERT.
        contrast: of the contrastive part.
        fusion_layer: the first text layer that sees the image.

    Attributes:
        optional_weights: pieces of the names of what published weights may lack: fine-tuned releases leave
            out the language head.
    """

    optional_weights: ClassVar[tuple[str, ...]] = (".cls.predictions.",)
    image_queue: Tensor
    text_queue: Tensor
    queue_ptr: Tensor

    def __init__(
        self,
        vision: ViTSize = ViTSize(),  # noqa: B008 (frozen)
        text: BertSize = BertSize(),  # noqa: B008 (frozen)
        contrast: ContrastSize = ContrastSize(),
        fusion_layer: int = 6,
    ) -> None:
        super().__init__()
        self.image_size = vision.image_size
        self.vocab_size = text.vocab_size
        self.max_positions = text.max_positions
        self.momentum = contrast.momentum
        self.visual_encoder = VisionTransformer(vision)
        self.text_encoder = BertForMaskedLM(BertModel(text, vision.width, fusion_layer))
        self.vision_proj = nn.Linear(vision.width, contrast.embed_dim)
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
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patches, and so of every map."""
        return self.visual_encoder.grid

    def attention_layers(self, layers: Sequence[int] | None) -> tuple[int, ...]:
        """The text layers whose cross-attention is explained, counted from 0.

        Args:
            layers: a choice among the layers with cross-attention; None for the third of them, which is the
                9th layer of the published model and of all public code.

        Raises:
            ValueError: no layer, or one without cross-attention.
        """
        bert = self.text_encoder.bert
        depth = len(bert.encoder.layer)
        if layers is None:
            return (min(bert.fusion_layer + 2, depth - 1),)
        if not layers:
            raise ValueError("maps.layers must name a layer, or be left out")
        for layer in layers:
            if not bert.fusion_layer <= layer < depth:
                raise ValueError(
                    f"maps.layers: layer {layer} has no cross-attention; choose from {bert.fusion_layer} to "
                    f"{depth - 1}"
                )
        return tuple(layers)

    def encode_image(self, images: Tensor, momentum: bool = False) -> Tensor:
        """(N,3,height,width), normalised -> (N,L,D)."""
        return self._part("visual_encoder", momentum)(images)

    def encode_text(self, ids: Tensor, mask: Tensor, momentum: bool = False) -> Tensor:
        """ids, mask (B,T), 1 = token -> (B,T,W), from the layers below ``fusion_layer``."""
        return self._part("text_encoder", momentum).bert.encode_text(ids, mask)

    def fuse(
        self,
        text_embeds: Tensor,
        text_mask: Tensor,
        image_embeds: Tensor,
        image_of_text: Tensor | None = None,
        *,
        attention_layers: Sequence[int] = (),
        create_graph: bool = False,
        momentum: bool = False,
    ) -> Fusion:
        """The layers from ``fusion_layer`` on.

        Args:
            text_embeds: (Q,T,W) from ``encode_text``.
            text_mask: (Q,T), 1 = token.
            image_embeds: (N,L,D).
            image_of_text: (Q,) long into the N images, or None where text q goes with image q.
            attention_layers: the layers whose attention is returned, ready to be differentiated to; see
                `attention_layers`. The caller may have gradients off: the graph then begins in the lowest of
                them, and the layers below cost no memory.
            create_graph: whether a loss on maps will differentiate the gradient to the attention once more.
            momentum: use the momentum twin.

        Raises:
            ValueError: when texts and images do not pair up.
            RuntimeError: when attention is asked for in inference mode.
        """
        in_inference_mode = (
            torch.is_inference_mode_enabled() or text_embeds.is_inference() or image_embeds.is_inference()
        )
        if attention_layers and in_inference_mode:
            raise RuntimeError(
                "class activation maps need gradients, which inference mode forbids: set inference_mode to "
                "false (no_grad is fine)"
            )
        hidden, attentions = self._part("text_encoder", momentum).bert.fuse(
            text_embeds,
            text_mask,
            image_embeds,
            image_of_text,
            attention_layers=attention_layers,
            create_graph=create_graph,
        )
        return Fusion(hidden, tuple(attentions))

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

    def mlm_logits(self, hidden: Tensor, momentum: bool = False) -> Tensor:
        """(...,W) -> (...,V); give the masked positions alone, (M,W), to save the rest."""
        return self._part("text_encoder", momentum).cls(hidden)

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Keeps ``temp`` in [0.001, 0.5], in place."""
        self.temp.clamp_(0.001, 0.5)

    @torch.no_grad()
    def update_momentum(self) -> None:
        """Twins := momentum * twins + (1 - momentum) * online, over parameters.

        Once a step, before the momentum features (reference code).
        """
        twins: list[Tensor] = []
        online: list[Tensor] = []
        for name in MOMENTUM_TWINS:
            twins += self._part(name, momentum=True).parameters()
            online += self._part(name, momentum=False).parameters()
        torch._foreach_lerp_(twins, online, 1 - self.momentum)

    @torch.no_grad()
    def enqueue(self, image_features: Tensor, text_features: Tensor) -> None:
        """Writes (B,E) features of both kinds over the oldest ones.

        It wraps around where B does not divide the queue.
        In place, so after the losses have copied what they need of the queues. Of more than K features the
        last K stay.
        """
        size = self.image_queue.shape[1]
        count = len(image_features)
        positions = (self.queue_ptr + torch.arange(count, device=self.queue_ptr.device))[-size:] % size
        for queue, features in ((self.image_queue, image_features), (self.text_queue, text_features)):
            queue.index_copy_(1, positions, features[-size:].T.to(queue.dtype))
        self.queue_ptr.add_(count).remainder_(size)

    def adapt_state_dict(self, state: Mapping[str, object]) -> dict[str, Tensor]:
        """A checkpoint of any public ALBEF layout -> one that this model loads strictly.

        Accepts what pretraining, the fine-tuned releases, SelfEQ and AMC write: wrapped in ``model`` or flat,
        with ``module.`` before the names, with or without ``bert.``, momentum twins (then the online
        weights), queues and pointer (then this model's own), learned at another image size (positions are
        resized). A queue of another length is replaced by this model's own. The language head that fine-tuned
        releases lack stays missing, and names that belong to nothing here stay as they are, for the caller to
        report.

        Raises:
            ValueError: when nothing matches, or the checkpoint is of another size.
        """
        own = self.state_dict()
        adapted = _official_names(state)
        if not any(name in own for name in adapted if name != "temp" and name not in QUEUES):
            first_names = ", ".join(list(map(str, state))[:3]) or "none"
            raise ValueError(f"this checkpoint holds nothing of ALBEF; its first names are {first_names}")
        for name in ("visual_encoder.pos_embed", "visual_encoder_m.pos_embed"):
            if name in adapted:
                adapted[name] = resize_position_embedding(adapted[name], self.grid)
        for name in ("text_encoder.", "text_encoder_m."):
            _fill_text_encoder(adapted, own, name)
        for name in own:
            online = name.replace("_m.", ".", 1)
            if name not in adapted and name.partition("_m.")[0] in MOMENTUM_TWINS and online in adapted:
                adapted[name] = adapted[online]
        _fill_queues(adapted, own)
        for name, tensor in adapted.items():
            if name in own and tensor.shape != own[name].shape:
                raise ValueError(
                    f"this checkpoint is of another size: {name} is {tuple(tensor.shape)} there and "
                    f"{tuple(own[name].shape)} here"
                )
        return adapted

    def _part(self, name: str, momentum: bool) -> Any:
        return getattr(self, f"{name}_m" if momentum else name)


def _official_names(state: Mapping[str, object]) -> dict[str, Tensor]:
    """Unwrapped, and under the names of the pretraining model; what is no tensor is left out."""
    inner = state.get("model")
    if isinstance(inner, Mapping):
        state = inner
    named = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.")
        for encoder in ("text_encoder", "text_encoder_m"):
            for part in ("embeddings", "encoder"):
                if name.startswith(f"{encoder}.{part}."):
                    name = f"{encoder}.bert.{name.removeprefix(encoder + '.')}"
        if isinstance(tensor, Tensor) and name not in DROPPED_NAMES:
            named["queue_ptr" if name in POINTER_NAMES else name] = tensor
    if "queue_ptr" in named:
        named["queue_ptr"] = named["queue_ptr"].reshape(1)
    return named


def _fill_text_encoder(state: dict[str, Tensor], own: Mapping[str, Tensor], encoder: str) -> None:
    """The buffer of positions, and the second names of tied tensors, which not every layout writes."""
    words = f"{encoder}bert.embeddings.word_embeddings.weight"
    bias = f"{encoder}cls.predictions.bias"
    if words in state:
        position_ids = f"{encoder}bert.embeddings.position_ids"
        state[position_ids] = own[position_ids].clone()
    if bias in state and words in state:
        state[f"{encoder}cls.predictions.decoder.weight"] = state[words]
        state[f"{encoder}cls.predictions.decoder.bias"] = state[bias]


def _fill_queues(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """This model's own queues and pointer where the checkpoint has none of their length."""
    for queue in ("image_queue", "text_queue"):
        if queue not in state or state[queue].shape[-1] != own[queue].shape[-1]:
            state |= {name: own[name].clone() for name in QUEUES}
            break
    state.setdefault("queue_ptr", torch.zeros_like(own["queue_ptr"]))
