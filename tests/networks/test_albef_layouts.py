"""Every public checkpoint layout becomes one that loads strictly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from networks.albef import ALBEF
from networks.layers.vit import resize_position_embedding
from tests.networks.albef_parity import TINY, state_dict, tiny_sizes

State = dict[str, Tensor]


def without(state: State, *parts: str) -> State:
    return {name: tensor for name, tensor in state.items() if not any(part in name for part in parts)}


def selfeq(state: State) -> State:
    pointers = {"queue_ptr_img": torch.tensor([7]), "queue_ptr_txt": torch.tensor([7])}
    return without(state, "queue_ptr") | pointers


def finetuned(state: State) -> State:
    """Flat, without momentum, queues, ``bert.`` and the language head."""
    state = without(state, "_m.", "queue", ".cls.", "position_ids")
    return {name.replace("bert.", ""): tensor for name, tensor in state.items()}


COMPLETE: dict[str, Callable[[State], dict[str, object]]] = {
    "flat": lambda state: dict(state),
    "pretrained": lambda state: {"model": state, "optimizer": {}, "epoch": 3},
    "distributed": lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
    "without positions": lambda state: {"model": without(state, "position_ids")},
    "without tied names": lambda state: {"model": without(state, ".decoder.")},
    "without bert.": lambda state: {name.replace("bert.", ""): tensor for name, tensor in state.items()},
    "retrieval": lambda state: (
        without(state, "queue_ptr") | {"ptr_queue": torch.tensor([0]), "idx_queue": torch.zeros(1, 32)}
    ),
}


@pytest.mark.parametrize("layout", COMPLETE)
def test_complete_layouts_give_the_official_state(layout: str) -> None:
    model = ALBEF(**TINY)
    model.load_state_dict(model.adapt_state_dict(COMPLETE[layout](state_dict())), strict=True)
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state_dict().items())


def test_selfeq_pointer_is_kept() -> None:
    model = ALBEF(**TINY)
    model.load_state_dict(model.adapt_state_dict({"model": selfeq(state_dict())}), strict=True)
    assert model.queue_ptr.tolist() == [7]


def test_finetuned_layout_lacks_only_the_language_head() -> None:
    model = ALBEF(**TINY)
    own_queue = model.image_queue.clone()
    result = model.load_state_dict(model.adapt_state_dict(finetuned(state_dict())), strict=False)
    assert result.unexpected_keys == []
    assert len(result.missing_keys) == 14
    assert all(".cls.predictions." in name for name in result.missing_keys)
    weights = "bert.encoder.layer.8.crossattention.self.query.weight"
    assert torch.equal(
        model.get_parameter(f"text_encoder.{weights}"), state_dict()[f"text_encoder.{weights}"]
    )
    assert torch.equal(
        model.get_parameter(f"text_encoder_m.{weights}"), state_dict()[f"text_encoder.{weights}"]
    )
    assert torch.equal(model.image_queue, own_queue)


def test_missing_momentum_is_the_online_model() -> None:
    model = ALBEF(**TINY)
    model.load_state_dict(model.adapt_state_dict(without(state_dict(), "_m.")), strict=True)
    state = model.state_dict()
    assert all(
        torch.equal(tensor, state[name.replace("_m.", ".", 1)])
        for name, tensor in state.items()
        if "_m." in name
    )


def test_queue_of_another_length_is_replaced() -> None:
    model = ALBEF(**tiny_sizes("contrast", queue_size=8))
    own_queue = model.text_queue.clone()
    state = dict(state_dict()) | {"queue_ptr": torch.tensor([20])}
    model.load_state_dict(model.adapt_state_dict(state), strict=True)
    assert torch.equal(model.text_queue, own_queue)
    assert model.queue_ptr.tolist() == [0]


def test_other_image_size_resizes_both_position_embeddings() -> None:
    model = ALBEF(**tiny_sizes("vision", image_size=384))
    model.load_state_dict(model.adapt_state_dict(state_dict()), strict=True)
    for encoder in ("visual_encoder", "visual_encoder_m"):
        there = state_dict()[f"{encoder}.pos_embed"]
        here = model.get_parameter(f"{encoder}.pos_embed")
        image = there[0, 1:].T.reshape(1, 36, 16, 16)
        assert here.shape == (1, 577, 36)
        assert torch.equal(here[:, 0], there[:, 0])
        assert_close(
            here[0, 1:].T.reshape(1, 36, 24, 24),
            F.interpolate(image, size=24, mode="bicubic", align_corners=False),
        )


def test_position_embedding_keeps_rows_and_columns_apart() -> None:
    ramp = torch.arange(4.0).repeat_interleave(4).reshape(1, 16, 1)
    resized = resize_position_embedding(torch.cat([torch.tensor([[[9.0]]]), ramp], dim=1), (8, 4))
    image = resized[0, 1:, 0].reshape(8, 4)
    assert resized[0, 0, 0] == 9
    assert (image.diff(dim=0) > 0).all()
    assert_close(image, image[:, :1].expand(8, 4))


def test_position_embedding_of_the_trained_grid_is_kept() -> None:
    positions = torch.randn(1, 17, 8)
    assert resize_position_embedding(positions, (4, 4)) is positions


def test_position_embedding_of_no_square_grid() -> None:
    with pytest.raises(ValueError, match="6 patches do not belong to a square grid"):
        resize_position_embedding(torch.zeros(1, 7, 2), (2, 3))


def test_checkpoint_of_another_width_is_refused() -> None:
    model = ALBEF(**tiny_sizes("vision", width=72))
    with pytest.raises(
        ValueError,
        match=r"of another size: visual_encoder.cls_token is \(1, 1, 36\) there and \(1, 1, 72\) here",
    ):
        model.adapt_state_dict(state_dict())


@pytest.mark.parametrize(
    "state",
    [{}, {"fc.weight": torch.zeros(2), "temp": torch.tensor(1.0)}, {"model": {"fc.weight": torch.zeros(2)}}],
)
def test_checkpoint_of_something_else_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="holds nothing of ALBEF"):
        ALBEF(**TINY).adapt_state_dict(state)


def test_unknown_names_stay_for_the_caller_to_report() -> None:
    model = ALBEF(**TINY)
    adapted = model.adapt_state_dict(dict(state_dict()) | {"extra.weight": torch.zeros(1)})
    assert model.load_state_dict(adapted, strict=False).unexpected_keys == ["extra.weight"]
