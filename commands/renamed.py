"""Names of earlier versions, and what they are called now."""

from __future__ import annotations

from collections.abc import Mapping

# An old option -> the new one, both without ``init_args``. The old one is given whole (``model.network``,
# which stands for all that lies below it, too), or by one of its parts alone (``reach``). It counts only
# where it is no option any more.
RENAMED_OPTIONS: dict[str, str] = {
    # Methods on a vision-language backbone.
    "model.network": "model.backbone.network",
    "model.vocabulary": "model.backbone.vocabulary",
    "model.mean": "model.backbone.images.mean",
    "model.std": "model.backbone.images.std",
    "model.interpolation": "model.backbone.images.interpolation",
    "model.max_words": "model.backbone.max_words",
    "model.max_tokens": "model.backbone.max_tokens",
    "model.mlm_probability": "model.backbone.mlm_probability",
    "model.add_sep": "model.backbone.add_sep",
    "model.distillation": "model.backbone.distillation.share",
    "model.legacy_mlm_distill": "model.backbone.distillation.legacy_mlm",
    "model.negative_power": "model.backbone.negatives.power",
    "model.negative_mask": "model.backbone.negatives.exclude",
    "model.cam_target": "model.backbone.maps.target",
    "model.cam_relu": "model.backbone.maps.relu",
    "model.cam_tokens": "model.backbone.maps.tokens",
    "model.queries_per_pass": "model.backbone.maps.queries_per_pass",
    "model.add_weight": "model.weights.add",
    "model.subject_weight": "model.weights.subject",
    "model.add_maps": "model.addition.maps",
    "model.add_combine": "model.addition.combine",
    # ALBEF's sizes.
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
}
# The short name of an old class -> that of the new one.
RENAMED_CLASSES: dict[str, str] = {"ALBEFPretrain": "VisionLanguagePretrain"}


def new_option(option: str, known_parts: int = 0, renamed: Mapping[str, str] = RENAMED_OPTIONS) -> str | None:
    """The new name of an option, if it is an old one.

    Args:
        option: as it was given, without ``init_args``.
        known_parts: how many of its leading parts are options of today.
        renamed: old names and new ones.

    Returns:
        The new name; None if the option has never been one.

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
            new = ".".join([renamed[old], *parts[length:]])
            return new_option(new, 0, renamed) or new  # a part further down may have another name, too
    for position in range(known_parts, len(parts)):
        if parts[position] in renamed:
            return ".".join([*parts[:position], renamed[parts[position]], *parts[position + 1 :]])
    return None


def without_init_args(option: str) -> str:
    """An option as it may be written in short.

    Example:
        >>> without_init_args("--model.init_args.network.init_args.width")
        'model.network.width'
    """
    names = option.lstrip("-").rstrip("+").split(".")
    return ".".join(name for name in names if name != "init_args")
