"""Options of TTD; what the paper leaves open has the default that its text makes likely."""

from __future__ import annotations

from dataclasses import dataclass

from datamodules.batches import Interpolation, Resize
from lightning_modules.optimisation import Optimisation
from lightning_modules.teacher import TeacherOptions

# The paper's; it names no schedule and no warm-up.
OPTIMISATION = Optimisation(lr=1e-4, weight_decay=5e-5, decayed="all", schedule="constant")

# The student itself, as in the paper.
SELF_TEACHER = TeacherOptions("self")


@dataclass(frozen=True)
class ImageOptions:
    """How images are made ready. Mean and deviation of their pixels are the backbone's.

    Args:
        train_sizes: least and greatest length of a training image's shorter side (or of the side of its
            square), in pixels; drawn anew for each image. The paper says "random resize".
        crop: side of the window that is cut out of it at random; smaller images are padded.
        eval_size: of images that are judged.
        resize: see `datamodules.batches.Preprocessing`.
        interpolation: see there.
    """

    train_sizes: tuple[int, int] = (320, 640)
    crop: int = 448
    eval_size: int = 448
    resize: Resize = "short_side"
    interpolation: Interpolation = "bilinear"

    @property
    def always_whole(self) -> bool:
        """Whether training sees all of every image, as one square."""
        return self.resize == "square" and set(self.train_sizes) == {self.crop}


@dataclass(frozen=True)
class ContrastOptions:
    """A contrastive loss of images and captions beside those of the paper.

    Args:
        weight: 0 for none, as in the paper. Without the paper's losses, it trains a CLIP.
        scale: of the cosines, e.g. 100 as CLIP has learnt it.
        temperature: of the pooling of a caption's map, see `lightning_modules.contrast.attention_pool`; None
            to compare the caption with the mean over all pixels.
    """

    weight: float = 0.0
    scale: float = 100.0
    temperature: float | None = None
