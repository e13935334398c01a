"""Answers to questions: a training step and the two-step ranking, against plain loops."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from datamodules.batches import QuestionBatch
from lightning_modules.errors import ModelError
from lightning_modules.vqa.module import VQAFinetune, read_answers
from lightning_modules.vqa.options import AnswerOptions
from networks.albef_vqa import ALBEFForQuestions
from tests.lightning_modules.conftest import NETWORK, TEXT, WORDS, gradients, train_step

QUESTIONS = ["What is red?", "Is the man on the left", "which hat"]
IMAGE_OF_QUESTION = torch.tensor([1, 0, 1])
ANSWERS = ["red hat", "dog", "a big dog", "left", "man", "old"]


@pytest.fixture
def module(tmp_path: Path) -> VQAFinetune:
    return build(tmp_path)


def build(folder: Path, **arguments: Any) -> VQAFinetune:
    torch.manual_seed(0)
    network = ALBEFForQuestions(NETWORK["vision"], TEXT, fusion_layer=2)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.25)
    (folder / "words.txt").write_text("\n".join(WORDS))
    (folder / "answers.json").write_text(json.dumps(ANSWERS))
    return VQAFinetune(network, folder / "words.txt", folder / "answers.json", **arguments).train()


def batch() -> QuestionBatch:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    answers = [{"red": 0.7, "red hat": 0.3}, {"left": 1.0}, {"big": 0.2, "old man": 0.3}]
    return QuestionBatch(images, QUESTIONS, IMAGE_OF_QUESTION, answers, list("abc"))


def log_probability(
    module: VQAFinetune, row: int, answer: str, images: Tensor, momentum: bool = False
) -> Any:
    """(T-1,V) of what follows each token, one question and one answer at a time, and the answer's ids."""
    network = module.network
    image = network.encode_image(images[IMAGE_OF_QUESTION[row]][None], momentum)
    question = module.tokenize_questions([QUESTIONS[row]], 25)
    zero = torch.zeros(1, dtype=torch.long)
    states = network.read_questions(*question, image, zero, momentum)
    tokens = module.tokenize_answers([answer])
    logits = network.next_token_logits(*tokens, states, question.mask, zero, momentum)
    return logits[0, :-1].log_softmax(dim=-1), tokens.ids[0, 1:]


@pytest.mark.parametrize(("epochs", "alpha"), [(0.0, 0.0), (0.5, 0.2), (3.0, 0.4)])
def test_the_loss_is_that_of_plain_loops(module: VQAFinetune, epochs: float, alpha: float) -> None:
    reference = copy.deepcopy(module)
    reference.network.update_momentum()
    expected = torch.zeros(())
    images = batch().images
    for row, answers in enumerate(batch().answers):
        for answer, weight in answers.items():
            following, ids = log_probability(reference, row, answer, images)
            teacher, _ = log_probability(reference, row, answer, images, momentum=True)
            hard = -following.gather(1, ids[:, None]).sum()
            soft = -(teacher.exp() * following).sum()
            expected = expected + weight * ((1 - alpha) * hard + alpha * soft) / len(QUESTIONS)
    loss, terms = train_step(module, batch(), epochs)
    assert_close(loss.detach(), expected.detach(), rtol=1e-4, atol=1e-5)
    assert_close(terms["answers"], loss.detach())


def test_all_that_is_trained_gets_a_gradient(module: VQAFinetune) -> None:
    loss, _ = train_step(module, batch(), 1.5)
    loss.backward()
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert set(gradients(module)) == trained
    assert not any("_m." in name for name in trained)


@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("candidates", [2, 128])
def test_ranking_is_in_two_steps(tmp_path: Path, twice: bool, candidates: int) -> None:
    options = AnswerOptions(candidates=candidates, first_token_twice=twice, pairs_per_pass=4)
    module = build(tmp_path, answering=options).eval()
    expected = []
    for row in range(len(QUESTIONS)):
        of_tokens = {}
        for answer in ANSWERS:
            following, ids = log_probability(module, row, answer, batch().images)
            of_tokens[answer] = following.gather(1, ids[:, None])[:, 0].tolist()
        first = {answer: values[0] for answer, values in of_tokens.items()}
        kept = sorted(ANSWERS, key=first.__getitem__, reverse=True)[:candidates]
        totals = {answer: sum(of_tokens[answer]) + twice * first[answer] for answer in kept}
        expected.append(max(totals, key=totals.__getitem__))
    assert module.answer(batch().images, QUESTIONS, IMAGE_OF_QUESTION) == expected


def test_free_answers_are_written_token_by_token(tmp_path: Path) -> None:
    module = build(tmp_path, answering=AnswerOptions(generate=True)).eval()
    answers = module.answer(batch().images, QUESTIONS, IMAGE_OF_QUESTION)
    assert len(answers) == len(QUESTIONS)
    for answer in answers:
        assert set(answer.split()) <= set(WORDS)
        assert "[" not in answer


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    with pytest.raises(ModelError, match=r"was not found; .* set --model.answers"):
        read_answers(path)
    for content, sentence in (
        ("{", "not readable as JSON"),
        ('{"a": 1}', "list of texts"),
        ("[]", "list of"),
    ):
        path.write_text(content)
        with pytest.raises(ModelError, match=sentence):
            read_answers(path)


def test_a_checkpoint_of_another_vocabulary_is_refused(module: VQAFinetune) -> None:
    checkpoint: dict[str, Any] = {"global_step": 1, "state_dict": module.state_dict(), "vocabulary": "other"}
    with pytest.raises(ModelError, match="another vocabulary"):
        module.on_load_checkpoint(checkpoint)
