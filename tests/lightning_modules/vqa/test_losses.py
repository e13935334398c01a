from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from lightning_modules.vqa.losses import (
    answer_log_probabilities,
    answer_losses,
    candidate_answers,
    weighted_loss,
)

# Two answers of two and one tokens after the first, over three words.
IDS = torch.tensor([[0, 1, 2], [0, 2, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
CHANCES = torch.tensor(
    [
        [[0.1, 0.5, 0.4], [0.2, 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3]],
        [[0.3, 0.2, 0.5], [0.8, 0.1, 0.1], [1 / 3, 1 / 3, 1 / 3]],
    ]
)
TEACHER = torch.tensor([[[0.2, 0.2, 0.6]] * 3, [[0.1, 0.8, 0.1]] * 3])


def test_a_token_s_probability_is_read_before_it() -> None:
    expected = torch.tensor([[0.5, 0.6], [0.5, 1.0]]).log()
    assert_close(answer_log_probabilities(CHANCES.log(), IDS, MASK), expected)


def test_losses_are_sums_over_tokens() -> None:
    hard = -torch.tensor([0.5 * 0.6, 0.5]).log()
    assert_close(answer_losses(CHANCES.log(), IDS, MASK, None, 0.0), hard)
    first = -(TEACHER[0, 0] * (CHANCES[0, 0].log() + CHANCES[0, 1].log())).sum()
    second = -(TEACHER[1, 0] * CHANCES[1, 0].log()).sum()
    mixed = 0.6 * hard + 0.4 * torch.stack([first, second])
    assert_close(answer_losses(CHANCES.log(), IDS, MASK, TEACHER.log(), 0.4), mixed)


def test_answers_weigh_what_people_said() -> None:
    losses = torch.tensor([1.0, 2.0, 4.0])
    assert weighted_loss(losses, torch.tensor([0.7, 0.3, 1.0]), 2).item() == pytest.approx(2.65)


def test_candidates_begin_likely() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]).log()
    log_probabilities, answers = candidate_answers(logits, torch.tensor([1, 2, 1, 0]), 2)
    assert answers[0, 0] == 1
    assert answers[1].tolist()[0] == 3
    assert_close(log_probabilities.exp(), torch.tensor([[0.7, 0.2], [0.6, 0.3]]))
    assert candidate_answers(logits, torch.tensor([1, 2]), 128)[1].shape == (2, 2)
