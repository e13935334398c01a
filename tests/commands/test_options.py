"""What a configuration can name is read from the constructors."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from commands.options import (
    accepted_arguments,
    classes_in,
    derived_classes,
    is_ours,
    known_classes,
    known_options,
    top_level_options,
    trainer_options,
)
from datamodules.catalogue import DATASETS
from datamodules.chunkers.base import Chunker
from lightning_modules.catalogue import METHODS
from tests.tiny import tiny_of


@dataclass(frozen=True)
class Size:
    """A size."""

    width: int = 3


class Base:
    """Passes nothing on."""

    def __init__(self, size: Size | None, name: str = "x") -> None:
        self.size = size


class Derived(Base):
    """Passes the rest on."""

    def __init__(self, sizes: list[Size], **rest: str) -> None:
        super().__init__(None, **rest)


def test_arguments_follow_those_that_are_passed_on() -> None:
    assert accepted_arguments(Size) == {"width": int}
    assert list(accepted_arguments(Derived)) == ["sizes", "size", "name"]
    assert list(accepted_arguments(Base)) == ["size", "name"]


def test_classes_are_found_within_types() -> None:
    found = set(classes_in(accepted_arguments(Derived)["sizes"]))
    assert found == {Size}
    assert set(classes_in(dict[str, Size | None])) == {str, Size, type(None)}
    assert set(classes_in(inspect.Parameter.empty)) == {inspect.Parameter.empty}
    assert list(classes_in(None)) == []


def test_everything_that_a_listed_class_takes_can_be_named() -> None:
    names = known_classes()
    assert {kind.__name__ for kind in (*METHODS, *DATASETS)} <= set(names)
    assert {"ALBEFBackbone", "ALBEF", "TextGroupTransformer", "CausalTransformer", "LLMChunker"} <= set(names)
    assert "Chunker" not in names  # abstract
    assert "Protocol" not in names  # a dataclass has no class_path
    assert not {"int", "Path", "Tensor"} & set(names)
    assert all(is_ours(kind) for kind in names.values())


def test_the_files_beside_a_contract_are_imported() -> None:
    assert {kind.__name__ for kind in derived_classes(Chunker)} >= {
        "LLMChunker",
        "RuleChunker",
        "SpacyChunker",
    }


def test_options_of_every_level_are_known() -> None:
    assert {"name", "runs", "monitor", "save_every", "ckpt_path", "seed_everything"} <= set(
        top_level_options()
    )
    assert not {"self", "datamodule", "train_dataloaders"} & set(top_level_options())
    assert {"max_steps", "callbacks"} <= set(trainer_options())
    assert {"width", "fusion_layer", "min_area", "batch_size", *top_level_options()} <= set(known_options())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_tiny_configuration(method: type) -> None:
    tiny = tiny_of(method)
    assert set(tiny.model) <= set(accepted_arguments(method))


def test_a_method_without_one_is_told_where_to_write_it() -> None:
    class Later:
        """Of a folder that has no tests yet."""

    Later.__module__ = "lightning_modules.later.module"
    with pytest.raises(LookupError, match=r"tests/lightning_modules/later/tiny\.py"):
        tiny_of(Later)
