"""ALBEF (Li et al., Align before Fuse, 2021) under its official key names, of any size.

Image tokens come from a vision transformer; text passes through the lower layers of BERT alone and through
the upper ones together with the image. Contrastive features, a matching head, a masked language head,
momentum twins and feature queues as in the reference pretraining model. Losses are made elsewhere, from the
parts given here.

Legend: N images, B texts, Q texts that are queries, P = h*w patches, L = 1 + P image tokens (the class token
    first), T text tokens,
D vision width, W text width, E embedding width, H heads, V vocabulary, K queue size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from networks.layers.bert import BertForMaskedLM, BertModel
from networks.layers.class_activation import grad_mode_of
from networks.layers.vit import VisionTransformer, resize_position_embedding

MOMENTUM_TWINS = ("visual_encoder", "vision_proj", "text_encoder", "text_proj")
QUEUES = ("image_queue", "text_queue", "queue_ptr")
POINTER_NAMES = ("queue_ptr", "queue_ptr_img", "ptr_queue")
DROPPED_NAMES = ("queue_ptr_txt", "idx_queue")


class Fusion(NamedTuple):
    """``hidden`` (Q,T,W), and the cross-attention probabilities (Q,H,T,L), before dropout, of each of the CAM
    layers if they were asked for.
    """

    hidden: Tensor
    attentions: tuple[Tensor, ...]


class ALBEF(nn.Module):
    """Defaults are the published model.

    Args:
        image_size, patch_size, vision_width, vision_depth, vision_heads: of the vision transformer.
        text_width, text_depth, text_heads, text_intermediate, vocab_size, max_positions, pad_id, dropout: of
            BERT.
        fusion_layer: the first text layer that sees the image.
        embed_dim, queue_size, momentum, temperature: of the contrastive part.
        cam_layers: the text layers whose cross-attention is explained, counted from 0; ``fusion_layer + 2``
            alone by default, which is the 9th layer of all public code. The map is the mean over them. In
            networks that are trained from scratch, which of the layers localises is a matter of chance
            (docs/results.md).

    Raises:
        ValueError: for sizes that do not fit together.
    """

    image_queue: Tensor
    text_queue: Tensor
    queue_ptr: Tensor

    def __init__(
        self,
        *,
        image_size: int = 256,
        patch_size: int = 16,
        vision_width: int = 768,
        vision_depth: int = 12,
        vision_heads: int = 12,
        text_width: int = 768,
        text_depth: int = 12,
        text_heads: int = 12,
        text_intermediate: int = 3072,
        fusion_layer: int = 6,
        vocab_size: int = 30522,
        max_positions: int = 512,
        dropout: float = 0.1,
        embed_dim: int = 256,
        queue_size: int = 65536,
        momentum: float = 0.995,
        temperature: float = 0.07,
        cam_layers: Sequence[int] | None = None,
        pad_id: int = 0,
    ) -> None:
        super().__init__()
        self.cam_layers = (
            (min(fusion_layer + 2, text_depth - 1),) if cam_layers is None else tuple(cam_layers)
        )
        self.image_size, self.vocab_size, self.max_positions, self.momentum = (
            image_size,
            vocab_size,
            max_positions,
            momentum,
        )
        if queue_size < 1:
            raise ValueError(f"a queue must hold at least one feature, not {queue_size}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], not {momentum}")
        self.visual_encoder = VisionTransformer(
            image_size, patch_size, vision_width, vision_depth, vision_heads
        )
        bert = BertModel(
            width=text_width,
            depth=text_depth,
            heads=text_heads,
            intermediate=text_intermediate,
            vocab_size=vocab_size,
            max_positions=max_positions,
            encoder_width=vision_width,
            fusion_layer=fusion_layer,
            dropout=dropout,
            pad_id=pad_id,
        )
        if not self.cam_layers:
            raise ValueError("cam_layers must name a layer, or be left out")
        for layer in self.cam_layers:
            if not fusion_layer <= layer < text_depth:
                raise ValueError(
                    f"cam_layers: layer {layer} has no cross-attention; choose from {fusion_layer} to {text_depth - 1}"
                )
        self.text_encoder = BertForMaskedLM(bert)
        self.vision_proj = nn.Linear(vision_width, embed_dim)
        self.text_proj = nn.Linear(text_width, embed_dim)
        self.itm_head = nn.Linear(text_width, 2)
        self.temp = nn.Parameter(torch.tensor(float(temperature)))
        for name in MOMENTUM_TWINS:
            self.add_module(f"{name}_m", copy.deepcopy(getattr(self, name)).requires_grad_(False))
        self.register_buffer("image_queue", F.normalize(torch.randn(embed_dim, queue_size), dim=0))
        self.register_buffer("text_queue", F.normalize(torch.randn(embed_dim, queue_size), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patches, and so of every map."""
        return self.visual_encoder.grid

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
        return_attention: bool = False,
        create_graph: bool = False,
        momentum: bool = False,
    ) -> Fusion:
        """The layers from ``fusion_layer`` on.

        Args:
            text_embeds: (Q,T,W) from ``encode_text``. text_mask: (Q,T), 1 = token.
            image_embeds: (N,L,D). image_of_text: (Q,) long into the N images, or None where text q goes with
                image q.
            return_attention: whether to return the attention of ``cam_layers``, ready to be differentiated
                to. The caller may have gradients off: the graph then begins in the lowest of them, and the
                layers below cost no memory.
            create_graph: with ``return_attention``, whether a loss on maps will differentiate the gradient
                once more.

        Raises:
            ValueError: when texts and images do not pair up.
            RuntimeError: when attention is asked for in inference mode.
        """
        if return_attention and any(
            (torch.is_inference_mode_enabled(), text_embeds.is_inference(), image_embeds.is_inference())
        ):
            raise RuntimeError(
                "class activation maps need gradients, which inference mode forbids: set inference_mode to false (no_grad is fine)"
            )
        hidden, attentions = self._part("text_encoder", momentum).bert.fuse(
            text_embeds,
            text_mask,
            image_embeds,
            image_of_text,
            attention_layers=self.cam_layers if return_attention else (),
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
        """(Q,T,W) after fusion -> (Q,2), class 1 = match. Differentiable whenever ``hidden`` is, also where
        the caller has gradients off.
        """
        with grad_mode_of(hidden), torch.autocast(hidden.device.type, enabled=False):
            return self.itm_head(hidden[:, 0].to(self.itm_head.weight.dtype))

    def mlm_logits(self, hidden: Tensor, momentum: bool = False) -> Tensor:
        """(...,W) -> (...,V); give the masked positions alone, (M,W), to save the rest."""
        return self._part("text_encoder", momentum).cls(hidden)

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Keep ``temp`` in [0.001, 0.5], in place."""
        self.temp.clamp_(0.001, 0.5)

    @torch.no_grad()
    def update_momentum(self) -> None:
        """Twins := momentum * twins + (1 - momentum) * online, over parameters; once a step, before the
        momentum features (reference code).
        """
        twins, online = self._twin_parameters()
        torch._foreach_lerp_(twins, online, 1 - self.momentum)

    @torch.no_grad()
    def enqueue(self, image_features: Tensor, text_features: Tensor) -> None:
        """Write (B,E) features of both kinds over the oldest ones, wrapping around where B does not divide
        the queue.

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
            raise ValueError(
                f"this checkpoint holds nothing of ALBEF; its first names are {', '.join(list(map(str, state))[:3]) or 'none'}"
            )
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
                    f"this checkpoint is of another size: {name} is {tuple(tensor.shape)} there and {tuple(own[name].shape)} here"
                )
        return adapted

    def _part(self, name: str, momentum: bool) -> Any:
        return getattr(self, f"{name}_m" if momentum else name)

    def _twin_parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        twins: list[Tensor] = [
            parameter for name in MOMENTUM_TWINS for parameter in self._part(name, True).parameters()
        ]
        online: list[Tensor] = [
            parameter for name in MOMENTUM_TWINS for parameter in self._part(name, False).parameters()
        ]
        return twins, online


def _official_names(state: Mapping[str, object]) -> dict[str, Tensor]:
    """Unwrapped, and under the names of the pretraining model; what is no tensor is left out."""
    inner = state.get("model")
    state = inner if isinstance(inner, Mapping) else state
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
    words, bias = f"{encoder}bert.embeddings.word_embeddings.weight", f"{encoder}cls.predictions.bias"
    if words in state:
        position_ids = f"{encoder}bert.embeddings.position_ids"
        state[position_ids] = own[position_ids].clone()
    if bias in state and words in state:
        state[f"{encoder}cls.predictions.decoder.weight"] = state[words]
        state[f"{encoder}cls.predictions.decoder.bias"] = state[bias]


def _fill_queues(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """This model's own queues where the checkpoint has none of their length, and a pointer to their start
    where it has none.
    """
    if any(
        name not in state or state[name].shape[-1] != own[name].shape[-1]
        for name in ("image_queue", "text_queue")
    ):
        state |= {name: own[name].clone() for name in QUEUES}
    state.setdefault("queue_ptr", torch.zeros_like(own["queue_ptr"]))
