"""Questions about images, answered by a decoder, as ALBEF does it (Li et al. 2021, arXiv:2107.07651)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.batches import Preprocessing, QuestionBatch
from lightning_modules.backbones.options import ContrastDistillation, ImageOptions
from lightning_modules.base import WeakgroundModule
from lightning_modules.errors import ModelError
from lightning_modules.optimisation import Optimisation
from lightning_modules.vocabulary import check_digest, check_size, read_vocabulary, vocabulary_digest
from lightning_modules.vqa.losses import (
    answer_log_probabilities,
    answer_losses,
    candidate_answers,
    weighted_loss,
)
from lightning_modules.vqa.options import AnswerOptions, TextOptions
from networks.albef_vqa import ALBEFForQuestions
from networks.layers.beam_search import beam_search
from networks.layers.tokenizer import Tokens, WordPieceTokenizer, pre_caption


class VQAFinetune(WeakgroundModule):
    """Learns to write the answers that people gave, each by the share of people who gave it, and answers by
    what it finds likeliest in a list of answers.

    Args:
        network: of any size.
        vocabulary: file of BERT's vocabulary, a token a line.
        answers: file of the answers to choose from: a list in JSON, as ALBEF's ``answer_list.json``.
        images: how images are made ready.
        texts: how texts are cut.
        answering: how an answer is chosen.
        distillation: how much of the momentum model is in the targets; 0 leaves it out.
        optimisation: optimiser and schedule.
        pretrained: weights of the network to start from: an official file, or a checkpoint of this project,
            of ALBEF or of this model.

    Raises:
        ModelError: a file is missing, or the vocabulary is not of the network's size.
    """

    train_batch: ClassVar[type] = QuestionBatch
    network: ALBEFForQuestions

    def __init__(
        self,
        network: ALBEFForQuestions,
        vocabulary: Path,
        answers: Path,
        images: ImageOptions = ImageOptions(),
        texts: TextOptions = TextOptions(),
        answering: AnswerOptions = AnswerOptions(),
        distillation: ContrastDistillation = ContrastDistillation(),
        optimisation: Optimisation = Optimisation(),
        pretrained: Path | None = None,
    ) -> None:
        super().__init__(optimisation, pretrained)
        tokens = read_vocabulary(Path(vocabulary), "--model.vocabulary")
        check_size(tokens, network.vocab_size)
        self.network = network
        self.fingerprint = vocabulary_digest(tokens)
        self.answers = read_answers(Path(answers))
        self.preprocessing = Preprocessing(network.image_size, images.mean, images.std, images.interpolation)
        self.question_tokenizer = WordPieceTokenizer(tokens)
        self.answer_tokenizer = WordPieceTokenizer(tokens, add_sep=True)
        self.texts = texts
        self.answering = answering
        self.distillation = distillation

    # Training.

    def training_step(self, batch: QuestionBatch, batch_idx: int) -> Tensor:
        """The loss of a batch; every image is encoded once for all of its questions."""
        weights_of_answers = [list(answers.items()) for answers in batch.answers]
        pairs = [(row, *pair) for row, of_question in enumerate(weights_of_answers) for pair in of_question]
        question_of_answer = torch.tensor([row for row, _, _ in pairs], device=self.device)
        weights = torch.tensor([weight for _, _, weight in pairs], device=self.device)
        questions = self.tokenize_questions(batch.questions, self.texts.max_tokens)
        answers = self.tokenize_answers([answer for _, answer, _ in pairs])
        alpha = self.distillation.share * min(1.0, self.epochs_done)
        if self.distillation.share and batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.network.update_momentum()

        logits = self._answer_logits(batch, questions, answers, question_of_answer)
        momentum_logits = None
        if alpha:
            with torch.no_grad():
                momentum_logits = self._answer_logits(batch, questions, answers, question_of_answer, True)
        losses = answer_losses(logits, answers.ids, answers.mask, momentum_logits, alpha)
        loss = weighted_loss(losses, weights, len(batch))
        self.log_terms(loss, {"answers": loss})
        return loss

    def _answer_logits(
        self,
        batch: QuestionBatch,
        questions: Tokens,
        answers: Tokens,
        question_of_answer: Tensor,
        momentum: bool = False,
    ) -> Tensor:
        """(A,T,V) of the answers of a batch."""
        network = self.network
        image_tokens = network.encode_image(batch.images, momentum)
        states = network.read_questions(*questions, image_tokens, batch.image_of_question, momentum)
        return network.next_token_logits(*answers, states, questions.mask, question_of_answer, momentum)

    def tokenize_questions(self, questions: Sequence[str], max_tokens: int) -> Tokens:
        """Cleaned questions, which begin with [CLS] and have no [SEP]."""
        cleaned = [pre_caption(question, self.texts.max_words) for question in questions]
        return self.question_tokenizer(cleaned, max_length=max_tokens, device=self.device)

    def tokenize_answers(self, answers: Sequence[str]) -> Tokens:
        """Answers from [CLS] to [SEP]."""
        return self.answer_tokenizer(list(answers), max_length=self.network.max_positions, device=self.device)

    # Capabilities.

    @torch.no_grad()
    def answer(self, images: Tensor, questions: list[str], image_of_question: Tensor) -> list[str]:
        """The likeliest answers. See `lightning_modules.capabilities.CanAnswer`."""
        network = self.network
        tokens = self.tokenize_questions(questions, network.max_positions)
        states = network.read_questions(*tokens, network.encode_image(images), image_of_question)
        if self.answering.generate:
            return [self._write(states[row], tokens.mask[row]) for row in range(len(questions))]
        return [self.answers[place] for place in self.rank(states, tokens.mask).tolist()]

    def rank(self, states: Tensor, mask: Tensor) -> Tensor:
        """Which answer of the list is likeliest: states (Q,S,W) of questions and their mask (Q,S) -> (Q,)."""
        listed = self.tokenize_answers(self.answers)
        rows = torch.arange(len(states), device=self.device)
        start = listed.ids[:1, :1].expand(len(states), 1)
        logits = self.network.next_token_logits(start, torch.ones_like(start), states, mask, rows)
        first, candidates = candidate_answers(logits[:, 0], listed.ids[:, 1], self.answering.candidates)
        number = candidates.shape[1]
        question_of_pair = rows.repeat_interleave(number)
        scores = []
        for part in torch.arange(candidates.numel(), device=self.device).split(self.answering.pairs_per_pass):
            answers = candidates.flatten()[part]
            ids = listed.ids[answers]
            answer_mask = listed.mask[answers]
            logits = self.network.next_token_logits(ids, answer_mask, states, mask, question_of_pair[part])
            scores.append(answer_log_probabilities(logits, ids, answer_mask).sum(dim=1))
        totals = torch.cat(scores).view(-1, number)
        if self.answering.first_token_twice:
            totals = totals + first
        return candidates.gather(1, totals.argmax(dim=1, keepdim=True)).squeeze(1)

    def _write(self, states: Tensor, mask: Tensor) -> str:
        """A free answer to a question (S,W)."""
        end_id = self.answer_tokenizer.closing_ids[0]

        def next_log_probabilities(ids: Tensor) -> Tensor:
            question = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
            logits = self.network.next_token_logits(
                ids, torch.ones_like(ids), states[None], mask[None], question
            )
            return logits[:, -1].float().log_softmax(dim=-1)

        prompt = torch.tensor([self.answer_tokenizer.cls_id], device=self.device)
        return self.answer_tokenizer.decode(
            beam_search(next_log_probabilities, prompt, end_id, self.answering.beams)
        )

    # Checkpoints remember the vocabulary, without which their word embeddings mean nothing.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the vocabulary's fingerprint."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["vocabulary"] = self.fingerprint

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also refuses the checkpoint of another vocabulary.

        Raises:
            ModelError: it was trained with another one.
        """
        super().on_load_checkpoint(checkpoint)
        check_digest(checkpoint.get("vocabulary", self.fingerprint), self.fingerprint, "--model.vocabulary")


def read_answers(path: Path) -> list[str]:
    """The answers to choose from.

    Raises:
        ModelError: no such file, or it holds no list of texts.
    """
    if not path.is_file():
        raise ModelError(
            f"the list of answers {path.absolute()} was not found; ALBEF's is answer_list.json of its page, "
            "or set --model.answers."
        )
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not readable as JSON ({error}).") from error
    if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
        raise ModelError(f"{path} must hold a list of texts in JSON, the answers to choose from.")
    return answers
