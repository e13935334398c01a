"""What TTD may be built upon: MaskCLIP and TCL on any CLIP of open_clip, with published weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from lightning_modules.errors import ModelError
from lightning_modules.loading import PartFile, read_weights
from networks.clip import build_clip
from networks.clip_dense import DenseCLIP, DenseOptions
from networks.tcl import FROM_CLIP, TCL
from networks.text_templates import Templates

OPTION = "--model.backbone.init_args"


@dataclass(frozen=True)
class CLIPModel:
    """A model of open_clip with a vision transformer.

    Args:
        name: as open_clip calls it; that of the papers is OpenAI's ``ViT-B-16-quickgelu``.
        sizes: of a model that open_clip has no name for, in the form of its configuration files.
        download: weights that open_clip may fetch from the network when the model is built, e.g. ``openai``.
        checkpointing: computes the blocks' activations twice in place of keeping them, which saves memory.
    """

    name: str = "ViT-B-16-quickgelu"
    sizes: dict[str, Any] | None = None
    download: str | None = None
    checkpointing: bool = False

    def build(self) -> tuple[Any, Any]:
        """The model and its tokenizer.

        Raises:
            ModelError: open_clip has no such model or weights.
        """
        try:
            clip, tokenizer = build_clip(self.name, self.sizes, self.download)
        except ValueError as error:
            raise ModelError(str(error)) from error
        clip.set_grad_checkpointing(self.checkpointing)
        return clip, tokenizer


class MaskCLIP(DenseCLIP):
    """MaskCLIP by name.

    Args:
        clip: the model.
        weights: file of its weights: OpenAI's, open_clip's, or a checkpoint of this project. None for random
            weights, or those that ``clip.download`` names.
        options: how patches get their vectors, and cosines become masks.
        templates: sentences for the names of classes; those of TTD's published commands are ``imagenet``.
    """

    def __init__(
        self,
        clip: CLIPModel = CLIPModel(),
        weights: Path | None = None,
        options: DenseOptions = DenseOptions(),
        templates: Templates = "maskclip",
    ) -> None:
        super().__init__(*clip.build(), options)
        self.templates = templates
        if weights is not None:
            rank_zero_info(PartFile("network", weights, f"{OPTION}.weights").load_into(self))
        self.brings_weights = weights is not None or clip.download is not None


class PublishedTCL(TCL):
    """TCL by name.

    Args:
        clip: the CLIP that it is built on.
        weights: file of its weights, ``tcl.pth`` or a checkpoint of this project; None for random ones.
        clip_weights: file of CLIP's weights, where ``weights`` lacks them.
        kept_share: share of the undecoded mask in the result, see `networks.tcl.TCL`.
        templates: sentences for the names of classes; those of TTD's published commands are ``imagenet``.

    Raises:
        ModelError: ``weights`` lack those of CLIP, and nothing else brings them.
    """

    def __init__(
        self,
        clip: CLIPModel = CLIPModel(),
        weights: Path | None = None,
        clip_weights: Path | None = None,
        kept_share: float = 0.3,
        templates: Templates = "tcl",
    ) -> None:
        base = MaskCLIP(clip, clip_weights)
        super().__init__(base.clip, base.tokenize, kept_share)
        self.templates = templates
        if weights is not None:
            file = PartFile("network", weights, f"{OPTION}.weights")
            if not base.brings_weights and self._lacks_clip(read_weights(weights, file.part, file.option)):
                raise ModelError(
                    f"{weights} lacks the weights of CLIP: set {OPTION}.clip_weights to OpenAI's "
                    f"ViT-B-16.pt, or {OPTION}.clip.download to openai."
                )
            rank_zero_info(file.load_into(self))
        self.brings_weights = weights is not None

    def _lacks_clip(self, content: Mapping[str, Any]) -> bool:
        names = set(content.get("model", content))
        return any(FROM_CLIP.fullmatch(name) and name not in names for name in self.state_dict())
