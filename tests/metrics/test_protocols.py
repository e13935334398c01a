import pytest
import torch

from metrics.protocols import CLEAN, SELFEQ, WWBL, Protocol, evaluated_boxes, protocol


def test_presets_and_changes():
    assert protocol("wwbl") == WWBL
    assert protocol(SELFEQ) == SELFEQ
    changed = protocol("wwbl", box_size=None)
    assert changed.box_size is None
    assert changed.prompt == "image of "


@pytest.mark.parametrize(
    ("typo", "near"), [("sefleq", "selfeq"), ("WWBL", "wwbl"), ("claen", "clean"), ("zzz", "")]
)
def test_typo_names_the_nearest(typo, near):
    with pytest.raises(ValueError, match=f"did you mean '{near}"):
        protocol(typo)


def test_values_are_checked():
    with pytest.raises(ValueError, match=r"inside='open', which is none of strict, inclusive, half_open"):
        Protocol(name="mine", inside="open")
    with pytest.raises(ValueError, match=r"min_area=5"):
        protocol("clean", min_area=5)


def test_conventions_meet():
    # Flickr30k Entities' XML says 11, 21, 30, 40; the batch holds (10, 20, 30, 40), the reference code
    # compares with (10, 20, 29, 39).
    boxes = torch.tensor([[[10.0, 20, 30, 40], [-4, -4, 90, 70]]]).double()
    sizes = torch.tensor([[60, 80]])
    for rules in (SELFEQ, WWBL):
        assert evaluated_boxes(boxes, sizes, rules, "corners").tolist() == [
            [[10, 20, 29, 39], [-4, -4, 89, 69]]
        ]
        assert evaluated_boxes(boxes, sizes, rules, "xywh").equal(boxes)
    for published in ("corners", "xywh"):
        assert evaluated_boxes(boxes, sizes, CLEAN, published).tolist() == [
            [[10, 20, 30, 40], [0, 0, 80, 60]]
        ]
