"""An oracle is judged as an oracle: through a trainer, over several sets, with everything that a set can
throw at it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from callbacks.evaluations.grounding import GroundingEvaluation
from callbacks.heatmaps import baseline_heatmaps
from callbacks.pictures.grounding import Pictures
from callbacks.run.epoch_lines import EpochLines
from callbacks.run.predictions import Predictions
from commands.decisions import read_decisions
from datamodules.batches import GroundingBatch, Preprocessing
from datamodules.cross import CrossDataset
from datamodules.sets.image_caption_folder import ImageCaptionFolder
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from tests.callbacks.judging import judge
from tests.fakes.base import save_image

SIZE = (40, 80)  # height, width
RIGHT = {"left dog": [0, 0, 20, 20], "right cat": [60, 20, 80, 40]}
WRONG = {"a bird": [0, 0, 10, 10]}


class Oracle(WeakgroundModule):
    """Knows where each phrase is, except for birds, which it puts into the opposite corner."""

    def __init__(self) -> None:
        super().__init__(Optimisation(), None)
        self.network = torch.nn.Linear(1, 1)
        self.preprocessing = Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.asked: list[tuple[int, list[str]]] = []

    def ground(self, images: Tensor, phrases: list[str], image_of_query: Tensor) -> Tensor:
        self.asked.append((len(images), phrases))
        maps = torch.zeros(len(phrases), 40, 80)
        for heatmap, phrase in zip(maps, phrases, strict=True):
            x0, y0, x1, y1 = (RIGHT | {"a bird": [60, 30, 80, 40], "no box": [0, 0, 5, 5]})[phrase]
            heatmap[y0:y1, x0:x1] = 0.9
            heatmap[(y0 + y1) // 2, (x0 + x1) // 2] = 1
        return maps


def folder(root: Path, name: str, images: int, phrases: dict[str, Any]) -> ImageCaptionFolder:
    rows = []
    for n in range(images):
        save_image(root / name / f"{n}.png", (10 * n, 90, 90), SIZE)
        rows += [
            {"image": f"{n}.png", "phrase": phrase, "boxes": [box] if box else []}
            for phrase, box in phrases.items()
        ]
    (root / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    queries = root / f"{name}.jsonl"
    return ImageCaptionFolder(
        images=root / name, val_queries=queries, test_queries=queries, num_workers=0, max_skipped=1.0
    )


@pytest.fixture
def sets(tmp_path: Path) -> CrossDataset:
    easy = folder(tmp_path, "easy", 5, RIGHT)
    hard = folder(tmp_path, "hard", 3, RIGHT | WRONG | {"no box": None})
    (tmp_path / "hard" / "1.png").write_text("torn")
    members = {"easy": easy, "hard": hard}
    return CrossDataset(val=members, test=members, eval_batch_size=2, num_workers=0, max_skipped=1.0)


@pytest.mark.filterwarnings("ignore")
def test_an_oracle_is_right_where_it_should_be(sets: CrossDataset, tmp_path: Path) -> None:
    values = judge(tmp_path, sets, Oracle(), GroundingEvaluation(["clean", "selfeq"]))
    for rules in ("clean", "selfeq"):
        assert values[f"test/easy/{rules}/pointing_game"] == 1
        assert values[f"test/hard/{rules}/pointing_game"] == pytest.approx(2 / 3)
    assert values["test/easy/clean/box_accuracy"] == 1
    assert values["test/easy/clean/mean_iou"] > 0.9

    content = json.loads((tmp_path / "test" / "metrics.json").read_text())
    counts = {
        (result["dataset"], result["method"]): result["n"]
        for result in content["results"]
        if result["protocol"] == "clean"
    }
    assert {name: n for (name, method), n in counts.items() if method == "model"} == {
        "easy": 10,
        "hard": 6,
    }  # two of three images, and no unboxed query
    assert len(set(counts.values())) == 2
    assert content["skipped"] == 4  # all queries of the torn image
    assert content["records"]["hard"] == {
        "records": 12,
        "used": 6,
        "left_out": {"nothing to judge by": 2},
        "skipped": 4,
    }
    assert content["protocols"]["selfeq"]["name"] == "selfeq"
    baselines = [
        result["value"]
        for result in content["results"]
        if result["method"] in {"random", "centre"} and result["metric"] == "pointing_game"
    ]
    assert max(baselines) < 1

    # The kept decisions give the same numbers.
    groups = read_decisions(tmp_path / "test" / "decisions.parquet")
    again = {
        (group.dataset, group.protocol, group.method, metric): (estimate.value, estimate.n)
        for group in groups
        for metric, estimate in group.estimates().items()
    }
    for result in content["results"]:
        place = (result["dataset"], result["protocol"], result["method"], result["metric"])
        assert again.pop(place) == (pytest.approx(result["value"], abs=1e-6), result["n"])
    assert not again
    birds = read_decisions(tmp_path / "test" / "decisions.parquet", "phrase == 'a bird' and method == model")
    assert {(group.dataset, group.protocol) for group in birds} == {("hard", "clean"), ("hard", "selfeq")}
    rows = birds[0].rows.to_pylist()
    assert {row["image"] for row in rows} == {"0.png", "2.png"}
    assert not any(row["hit"] for row in rows)
    assert {(row["point_x"], row["point_y"]) for row in rows} == {(70, 35)}
    assert {round(row["box_area"], 4) for row in rows} == {round(100 / (40 * 80), 4)}


@pytest.mark.filterwarnings("ignore")
def test_images_are_encoded_once_for_all_protocols_of_one_prompt(sets: CrossDataset, tmp_path: Path) -> None:
    module = Oracle()
    judge(tmp_path, sets, module, GroundingEvaluation(["clean", "clean"]))
    # Five easy images, then hard ones, of which one is torn.
    assert [images for images, _ in module.asked] == [2, 2, 1, 1, 1]


@pytest.mark.filterwarnings("ignore")
def test_validation_judges_the_model_by_the_first_protocol(sets: CrossDataset, tmp_path: Path) -> None:
    evaluation = GroundingEvaluation(["clean", "selfeq"])
    pictures = Pictures(count=3, per_image=1)
    values = judge(tmp_path, sets, Oracle(), evaluation, pictures, stage="validate")
    metrics = ("pointing_game", "box_accuracy", "mean_iou")
    assert set(values) == {
        f"val/{dataset}/clean/{metric}" for dataset in ("easy", "hard") for metric in metrics
    }
    assert sorted(path.name for path in (tmp_path / "val" / "pictures").iterdir()) == sorted(
        [*(f"easy-{n:02d}.png" for n in range(3)), "easy.png", "hard-00.png", "hard-01.png", "hard.png"]
    )


@pytest.mark.filterwarnings("ignore")
def test_changed_protocols_are_marked(sets: CrossDataset, tmp_path: Path) -> None:
    values = judge(tmp_path, sets, Oracle(), GroundingEvaluation(["clean"], changes={"min_area": 0.1}))
    assert {name.split("/")[2] for name in values} == {"clean*"}
    content = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert content["protocols"]["clean*"]["min_area"] == 0.1
    assert {result["dataset"]: result["n"] for result in content["results"]} == {
        "easy": 10,
        "hard": 4,
    }  # the bird's box is too small


@pytest.mark.filterwarnings("ignore")
def test_predictions_are_in_pixels_of_the_original(sets: CrossDataset, tmp_path: Path) -> None:
    judge(tmp_path, sets, Oracle(), Predictions(), stage="predict")
    lines = [
        json.loads(line)
        for line in (tmp_path / "predict" / "predictions-rank0.jsonl").read_text().splitlines()
    ]
    assert len(lines) == 5 * 2 + 2 * 4  # also for the query without a box
    assert len({line["picture"] for line in lines}) == len(lines)
    for line in lines:
        assert line["protocol"] == "clean"
        assert line["heatmap"] == line["picture"].removesuffix(".jpg") + "-heatmap.png"
        assert line["image"] in line["picture"]
        assert line["phrase"].replace(" ", "-") in line["picture"]
        assert (tmp_path / "predict" / line["heatmap"]).is_file()
        assert (tmp_path / "predict" / line["picture"]).is_file()
        if line["phrase"] == "right cat":
            x, y = line["point"]
            assert 60 <= x < 80
            assert 20 <= y < 40
            assert line["box"] == pytest.approx([60, 20, 80, 40], abs=2)


@pytest.mark.parametrize(
    "callback",
    [GroundingEvaluation(), Pictures(), Predictions()],
    ids=lambda callback: type(callback).__name__,
)
def test_a_module_that_cannot_ground_is_refused(callback: pl.Callback) -> None:
    module = WeakgroundModule(Optimisation(), None)
    with pytest.raises(
        ModelError,
        match=f"{type(callback).__name__} needs a module that can `ground`, and WeakgroundModule cannot",
    ):
        callback.setup(None, module, "test")  # type: ignore[arg-type]


@pytest.mark.parametrize("callback", [GroundingEvaluation(), Pictures()])
def test_without_data_nothing_is_judged(callback: pl.Callback) -> None:
    with pytest.raises(ModelError, match="does not know which data it looks at: set its `supply`"):
        callback.setup(None, Oracle(), "test")  # type: ignore[arg-type]


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(ValueError, match="clean"):
        GroundingEvaluation(["claen"])
    with pytest.raises(ValueError, match="clean"):
        Pictures(protocol="claen")


def test_mentions_of_a_chain_share_their_random_place() -> None:
    batch = GroundingBatch(
        torch.zeros(1, 3, 1, 1),
        ["a", "b", "c"],
        torch.zeros(3).long(),
        torch.tensor([0, 1, 0]),
        [],
        torch.ones(1, 2),
        ["image"],
        ["x", "y", "z"],
    )
    maps = baseline_heatmaps("random", batch)
    assert torch.equal(maps[0], maps[2])
    assert not torch.equal(maps[0], maps[1])


def test_a_line_an_epoch(caplog: pytest.LogCaptureFixture) -> None:
    line = EpochLines()
    state: Any = type(
        "Trainer",
        (),
        {
            "global_step": 0,
            "max_steps": 20,
            "current_epoch": 0,
            "callback_metrics": {"train/loss": torch.tensor(0.5)},
        },
    )()
    line.on_train_start(state, None)  # type: ignore[arg-type]
    state.global_step = 10
    line.on_train_batch_end(state)
    with caplog.at_level("INFO"):
        line.on_train_epoch_end(state, None)  # type: ignore[arg-type]
    (record,) = caplog.records
    assert "epoch 0 step 10/20" in record.message
    assert "loss=0.5" in record.message


@pytest.mark.filterwarnings("ignore")
def test_a_set_may_have_protocols_of_its_own(sets: CrossDataset, tmp_path: Path) -> None:
    first, *others = sets.test
    evaluation = GroundingEvaluation(["clean"], protocols_of={first: ["selfeq"]})
    values = judge(tmp_path, sets, Oracle(), evaluation)
    protocols: dict[str, set[str]] = {}
    for name in values:
        _, dataset, rules, _ = name.split("/")
        protocols.setdefault(dataset, set()).add(rules)
    assert protocols == {first: {"selfeq"}, **{name: {"clean"} for name in others}}
    assert set(json.loads((tmp_path / "test" / "metrics.json").read_text())["protocols"]) == {
        "clean",
        "selfeq",
    }
