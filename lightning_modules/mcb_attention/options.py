"""Options of MCB attention and of the stages before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_modules.mcb_attention.losses import PairLoss
from lightning_modules.optimisation import Optimisation
from networks.mcb_attention import ResNetSize

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MNIST_MEAN = (0.1307, 0.1307, 0.1307)
MNIST_STD = (0.3081, 0.3081, 0.3081)

# The paper's: stochastic gradient descent, and a pre-trained backbone that learns at a tenth.
FROM_SCRATCH = Optimisation(lr=0.1, optimizer="sgd", weight_decay=5e-4, decayed="all")
FINE_TUNING = Optimisation(
    lr=0.1,
    optimizer="sgd",
    weight_decay=5e-4,
    decayed="all",
    part_lr={"network.backbone": 0.1},
)


@dataclass(frozen=True)
class ImageOptions:
    """How images are made ready.

    Args:
        size: side of the training images in pixels.
        mean: per channel, for pixels in [0, 1]; MNIST's by default.
        std: per channel.
    """

    size: int = 64
    mean: tuple[float, float, float] = MNIST_MEAN
    std: tuple[float, float, float] = MNIST_STD


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses. The first three are the paper's; 0 leaves any other out, work and all.

    Args:
        classification: of L_ce; 1 in the paper.
        pair: lambda, of L_p.
        penalty: beta, of R; the paper's table 1 has 0, 0.05, 0.1 and 0.2.
        absent: of the penalty of maps for absent classes, beside beta.
        smoothness: of the maps' total variation where the image itself is smooth, against specks and torn
            strokes.
        complement: of -log(1 - p) of the queried class, as the classifier sees it in the features that the
            map leaves over.
        judge: of the judge's two losses, see `JudgeOptions`.
    """

    classification: float = 1.0
    pair: float = 0.1
    penalty: float = 0.1
    absent: float = 1.0
    smoothness: float = 0.0
    complement: float = 0.0
    judge: float = 0.0


@dataclass(frozen=True)
class PairOptions:
    """How the attended features of two queries are compared, see `losses.pair_loss`.

    Args:
        kind: ``contrastive``, what the paper's text describes; ``literal``, its equation 2; or ``none``.
        margin: m.
    """

    kind: PairLoss = "contrastive"
    margin: float = 1.0


@dataclass(frozen=True)
class QueryOptions:
    """What is asked in a training step.

    Args:
        per_image: ``one`` class of each image, as in the paper, or ``all`` of them, which costs the backbone
            nothing.
        absent: probability that an image is also queried for a class that it does not show. Such a query has
            no L_ce and no L_p.
    """

    per_image: Literal["one", "all"] = "one"
    absent: float = 0.0


@dataclass(frozen=True)
class JudgeOptions:
    """A frozen classifier of whole images; not in the paper.

    It must find the queried class alone in the image under the map, and all others in the rest of the image.
    No box is involved: it learnt from captions.

    Args:
        pretrained: a checkpoint that `DigitPretrain` wrote with ``loss: multi``.
        backbone: of that classifier.
    """

    pretrained: Path | None = None
    backbone: ResNetSize = ResNetSize()


@dataclass(frozen=True)
class GroundingOptions:
    """How maps of phrases are made.

    Args:
        stitch: for a backbone with a stride: ground in the image moved by every number of pixels below the
            stride, and stitch the maps together to one of the image's resolution (as "Fully Convolutional
            Networks for Semantic Segmentation", section 3.2, does). Costs the stride's square.
        queries_per_pass: phrases grounded at once; bounds the memory.
    """

    stitch: bool = False
    queries_per_pass: int = 32
