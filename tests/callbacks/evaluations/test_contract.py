"""Every listed evaluation judges a small set of its kind, beside its baselines, and says by which rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callbacks.catalogue import CALLBACKS
from callbacks.evaluations.base import Evaluation
from datamodules.kinds.catalogue import JUDGED_KINDS
from tests.callbacks.judging import Capable, Data, judge
from tests.datamodules.kinds.examples import example_of

EVALUATIONS = [kind for kind in CALLBACKS if issubclass(kind, Evaluation)]


@pytest.fixture(params=EVALUATIONS, ids=lambda evaluation: evaluation.__name__)
def evaluation(request: pytest.FixtureRequest) -> Any:
    """A listed evaluation with its defaults."""
    return request.param()


def example_for(evaluation: Evaluation) -> Data:
    """The example of the kind that an evaluation judges, as a data set."""
    (kind,) = [kind for kind in JUDGED_KINDS if kind.batch is evaluation.batch_type]
    return Data(example=example_of(kind))


@pytest.mark.filterwarnings("ignore")
def test_it_judges_an_example_of_its_kind(evaluation: Any, tmp_path: Path) -> None:
    logged = judge(tmp_path, example_for(evaluation), Capable(), evaluation)
    content = json.loads((tmp_path / "test" / "metrics.json").read_text())
    results = content["results"]
    assert set(content["protocols"]) == {result["protocol"] for result in results}
    by_model = [result for result in results if result["method"] == "model"]
    assert {f"test/example/{result['protocol']}/{result['metric']}" for result in by_model} == set(logged)
    judged = [result for result in results if result["n"]]
    assert any(result in by_model for result in judged)
    for result in judged:
        assert 0 <= result["value"] <= 1


@pytest.mark.filterwarnings("ignore")
def test_validation_judges_the_module_alone(evaluation: Any, tmp_path: Path) -> None:
    logged = judge(tmp_path, example_for(evaluation), Capable(), evaluation, stage="validate")
    assert logged
    assert {result.method for result in evaluation.results} == {"model"}
    assert not (tmp_path / "test").exists()
