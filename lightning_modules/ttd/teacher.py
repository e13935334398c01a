"""A teacher that has the student's network, but weights of its own where the student is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of a network that are trained, in order."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


class Teacher(nn.Module):
    """Copies of the trained parameters of a network. What is frozen in it need not be copied.

    Args:
        network: the student's.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(parameter.detach().clone(), requires_grad=False)
            for parameter in trained_parameters(network)
        )

    @torch.no_grad()
    def move(self, network: nn.Module, decay: float) -> None:
        """A step of the moving average towards the student."""
        for own, students in zip(self.weights, trained_parameters(network), strict=True):
            own.lerp_(students, 1 - decay)

    @contextmanager
    def inside(self, network: nn.Module) -> Iterator[None]:
        """The network with the teacher's weights; what is computed meanwhile is not to be differentiated."""
        students = [parameter.data for parameter in trained_parameters(network)]
        try:
            self._put(network, [parameter.data for parameter in self.weights])
            yield
        finally:
            self._put(network, students)

    def _put(self, network: nn.Module, weights: list[torch.Tensor]) -> None:
        for parameter, weight in zip(trained_parameters(network), weights, strict=True):
            parameter.data = weight
