"""Names of earlier versions, and what they are called now."""

from __future__ import annotations

from collections.abc import Mapping

# An old option -> the new one, both without ``init_args``. The old one is given whole (``model.network``,
# which stands for all that lies below it, too), or by one of its parts alone (``reach``). It counts only
# where it is no option any more. An option that several methods had has a new name for each, joined by "or".
RENAMED_OPTIONS: dict[str, str] = {
    # ALBEF and HIST.
    "model.network": "model.backbone.network",
    "model.vocabulary": "model.backbone.vocabulary or model.text.vocabulary",
    "model.max_words": "model.backbone.max_words",
    "model.max_tokens": "model.backbone.max_tokens or model.text.max_tokens",
    "model.mlm_probability": "model.backbone.mlm_probability",
    "model.add_sep": "model.backbone.add_sep",
    "model.interpolation": "model.backbone.images.interpolation",
    "model.distillation": "model.backbone.distillation.share",
    "model.legacy_mlm_distill": "model.backbone.distillation.legacy_mlm",
    "model.negative_power": "model.backbone.negatives.power",
    "model.negative_mask": "model.backbone.negatives.exclude",
    "model.cam_target": "model.backbone.maps.target",
    "model.cam_relu": "model.backbone.maps.relu",
    "model.cam_tokens": "model.backbone.maps.tokens",
    "model.subject_weight": "model.weights.subject",
    "model.add_weight": "model.weights.add",
    "model.add_maps": "model.addition.maps",
    "model.add_combine": "model.addition.combine",
    "model.backbone.network.cam_layers": "model.backbone.maps.layers",
    "model.backbone.network.image_size": "model.backbone.network.vision.image_size",
    "model.backbone.network.patch_size": "model.backbone.network.vision.patch_size",
    "model.backbone.network.vision_width": "model.backbone.network.vision.width",
    "model.backbone.network.vision_depth": "model.backbone.network.vision.depth",
    "model.backbone.network.vision_heads": "model.backbone.network.vision.heads",
    "model.backbone.network.text_width": "model.backbone.network.text.width",
    "model.backbone.network.text_depth": "model.backbone.network.text.depth",
    "model.backbone.network.text_heads": "model.backbone.network.text.heads",
    "model.backbone.network.text_intermediate": "model.backbone.network.text.intermediate",
    "model.backbone.network.vocab_size": "model.backbone.network.text.vocab_size",
    "model.backbone.network.max_positions": "model.backbone.network.text.max_positions",
    "model.backbone.network.dropout": "model.backbone.network.text.dropout",
    "model.backbone.network.pad_id": "model.backbone.network.text.pad_id",
    "model.backbone.network.embed_dim": "model.backbone.network.contrast.embed_dim",
    "model.backbone.network.queue_size": "model.backbone.network.contrast.queue_size",
    "model.backbone.network.momentum": "model.backbone.network.contrast.momentum",
    "model.backbone.network.temperature": "model.backbone.network.contrast.temperature",
    # MCB attention and its pre-training.
    "model.image_size": "model.images.size",
    "model.mean": "model.images.mean or model.backbone.images.mean",
    "model.std": "model.images.std or model.backbone.images.std",
    "model.text_width": "model.attention.text_width",
    "model.sketch": "model.attention.sketch",
    "model.hidden": "model.attention.hidden",
    "model.post_norm": "model.attention.post_norm",
    "model.pooling": "model.attention.pooling",
    "model.class_weight": "model.weights.classification",
    "model.pair_weight": "model.weights.pair",
    "model.penalty_weight": "model.weights.penalty",
    "model.absent_weight": "model.weights.absent",
    "model.smooth_weight": "model.weights.smoothness",
    "model.complement_weight": "model.weights.complement",
    "model.judge_weight": "model.weights.judge",
    "model.pair_kind": "model.pairs.kind",
    "model.pair_margin": "model.pairs.margin",
    "model.absent": "model.queries.absent",
    "model.judge_backbone": "model.judge.backbone",
    "model.stitch": "model.grounding.stitch",
    "model.queries_per_pass": "model.grounding.queries_per_pass or model.backbone.maps.queries_per_pass",
    "model.optimisation.backbone_lr": "model.optimisation.part_lr",
    # g and g++.
    "model.clip_losses": "model.clip_use",
    "model.similarity_trunk": "model.labels.trunk",
    # Text groups.
    "model.network.width": "model.network.size.width",
    "model.network.heads": "model.network.size.heads",
    "model.network.vocab_size": "model.network.size.vocab_size or model.backbone.network.text.vocab_size",
    "model.network.max_positions": (
        "model.network.size.max_positions or model.backbone.network.text.max_positions"
    ),
    "model.network.embed_dim": "model.network.size.embed_dim or model.backbone.network.contrast.embed_dim",
    "model.network.image_width": "model.network.size.image_width",
    "model.network.isolated": "model.network.separate_layers",
    "model.network.values": "model.network.grouping.values",
    "model.network.assign_eps": "model.network.grouping.eps",
    "model.network.place": "model.network.grouping.positional_prior",
    "model.network.reach": "model.network.grouping.smoothing_radius",
    "model.network.word_dropout": "model.network.decoder.word_dropout",
    "model.network.bottleneck": "model.network.decoder.bottleneck",
    "model.network.position_std": "model.network.spread.positions",
    "model.network.group_std": "model.network.spread.groups",
    "model.openers": "model.text.openers",
    "model.contrastive_weight": "model.weights.contrastive",
    "model.reconstruction_weight": "model.weights.reconstruction",
    "model.balance_weight": "model.weights.balance",
    "model.reduction": "model.reconstruction.reduction",
    "model.candidates": "model.reconstruction.candidates",
    "model.cache_chunk": "model.memory.cache_chunk",
    "model.logits_chunk": "model.memory.logits_chunk",
    "model.ground_temperature": "model.grounding_temperature",
}
# The short name of an old class -> that of the new one.
RENAMED_CLASSES: dict[str, str] = {
    "ALBEFPretrain": "VisionLanguagePretrain",
    "SceneSpans": "SceneCaptions",
}


def new_option(option: str, known_parts: int = 0, renamed: Mapping[str, str] = RENAMED_OPTIONS) -> str | None:
    """The new name of an option, if it is an old one.

    Args:
        option: as it was given, without ``init_args``.
        known_parts: how many of its leading parts are options of today.
        renamed: old names and new ones.

    Returns:
        The new name, or several joined by "or"; None if the option has never been one.

    Example:
        >>> new_option("model.network.width", 1, {"model.network": "model.backbone.network"})
        'model.backbone.network.width'
        >>> new_option("model.network.reach", 2, {"reach": "neighbours"})
        'model.network.neighbours'
    """
    parts = option.split(".")
    for length in range(len(parts), known_parts, -1):
        old = ".".join(parts[:length])
        if old in renamed:
            names = [_follow(new, parts[length:], renamed) for new in renamed[old].split(" or ")]
            return " or ".join(names)
    for position in range(known_parts, len(parts)):
        if parts[position] in renamed:
            return ".".join([*parts[:position], renamed[parts[position]], *parts[position + 1 :]])
    return None


def _follow(start: str, parts: list[str], renamed: Mapping[str, str]) -> str:
    """A new name and what stands below it, of which parts may have other names by now, too."""
    option = ".".join([start, *parts])
    return new_option(option, len(start.split(".")), renamed) or option


def renamed_option(option: str, known_parts: int = 0) -> str | None:
    """What is said about an option that has another name now; None for any other option.

    Args:
        option: as it was given, without ``init_args``.
        known_parts: how many of its leading parts are options of today.
    """
    new = new_option(option, known_parts)
    if new is None:
        return None
    names = " or ".join(repr(name) for name in new.split(" or "))
    return f"option {option!r} is now called {names}."


def without_init_args(option: str) -> str:
    """An option as it may be written in short.

    Example:
        >>> without_init_args("--model.init_args.network.init_args.width")
        'model.network.width'
    """
    names = option.lstrip("-").rstrip("+").split(".")
    return ".".join(name for name in names if name != "init_args")
