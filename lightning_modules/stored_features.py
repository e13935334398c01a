"""What the frozen towers of a dual encoder see, as features that can be stored."""

from datamodules.handover import FeatureSpec
from lightning_modules.loading import digest
from networks.dual_encoder import DualEncoder


def feature_spec(encoder: DualEncoder, side: int) -> FeatureSpec:
    """What features of square images of ``side`` pixels are computed by."""
    towers = digest(encoder.image_towers.state_dict())
    return FeatureSpec(f"{towers} strides {encoder.strides} side {side}", encoder.feature_numbers(side))
