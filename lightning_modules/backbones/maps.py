"""Which layers and heads a class activation map is read from."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_modules.backbones.options import MapOptions
from networks.layers.class_activation import Join
from networks.layers.momentum_contrast import MomentumContrast


@dataclass(frozen=True)
class MapSource:
    """A layer, and its heads that are averaged.

    Args:
        layer: counted from 0.
        heads: counted from 0; None for all.
    """

    layer: int
    heads: tuple[int, ...] | None = None


@dataclass(frozen=True)
class MapReading:
    """How a map is read.

    Args:
        sources: whose maps are joined.
        combine: how.
    """

    sources: tuple[MapSource, ...]
    combine: Join = "mean"

    @property
    def layers(self) -> list[int]:
        """In ascending order, each once."""
        return sorted({source.layer for source in self.sources})


def training_reading(network: MomentumContrast, maps: MapOptions) -> MapReading:
    """What losses on maps see: all heads of the chosen layers, or the chosen heads.

    Raises:
        ValueError: a layer or head that the network does not have, or no heads where they are wanted.
    """
    if maps.train_on == "heads":
        if not maps.heads:
            raise ValueError("maps.train_on is heads, and maps.heads names none")
        return evaluation_reading(network, maps)
    layers = sorted(network.attention_layers(maps.layers))
    return MapReading(tuple(MapSource(layer) for layer in layers))


def evaluation_reading(network: MomentumContrast, maps: MapOptions) -> MapReading:
    """What is shown and judged: the chosen heads, or what losses see where none are chosen.

    Raises:
        ValueError: a layer or head that the network does not have.
    """
    if not maps.heads:
        return training_reading(network, maps)
    first_layer = network.bert.fusion_layer
    depth = len(network.bert.encoder.layer)
    for layer, head in maps.heads:
        if not (first_layer <= layer < depth and 0 <= head < network.heads):
            raise ValueError(
                f"maps.heads: there is no head {head} in the cross-attention of layer {layer}; layers are "
                f"{first_layer} to {depth - 1}, heads 0 to {network.heads - 1} (null reads all heads of "
                "maps.layers)"
            )
    return MapReading(tuple(MapSource(layer, (head,)) for layer, head in maps.heads), maps.combine)
