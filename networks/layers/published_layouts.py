"""What the published checkpoints of ALBEF, BLIP and their kin have in common."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

POINTER_NAMES = ("queue_ptr", "queue_ptr_img", "ptr_queue")
DROPPED_NAMES = ("queue_ptr_txt", "idx_queue")


def unwrapped(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors, without what was wrapped around them, and one pointer of the queues under one name."""
    inner = state.get("model")
    if isinstance(inner, Mapping):
        state = inner
    tensors = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.")
        if isinstance(tensor, Tensor) and name not in DROPPED_NAMES:
            tensors["queue_ptr" if name in POINTER_NAMES else name] = tensor
    if "queue_ptr" in tensors:
        tensors["queue_ptr"] = tensors["queue_ptr"].reshape(1)
    return tensors


def holds_nothing_of(network: nn.Module, state: Mapping[str, object]) -> ValueError:
    """The error to raise where no tensor of a checkpoint belongs to a network."""
    first_names = ", ".join(list(map(str, state))[:3]) or "none"
    return ValueError(
        f"this checkpoint holds nothing of {type(network).__name__}; its first names are {first_names}"
    )


def check_shapes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuses tensors of another shape than those of the same name in the network.

    Args:
        state: of a checkpoint, under the network's names.
        own: of the network.

    Raises:
        ValueError: the checkpoint is of another size.
    """
    for name, tensor in state.items():
        if name in own and tensor.shape != own[name].shape:
            raise ValueError(
                f"this checkpoint is of another size: {name} is {tuple(tensor.shape)} there and "
                f"{tuple(own[name].shape)} here"
            )
