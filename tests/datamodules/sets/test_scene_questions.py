from __future__ import annotations

from collections import Counter

from datamodules.sets.scene_questions import ANSWERS, SceneQuestionSource
from datamodules.sets.scenes import Scenes, SceneSource
from tests.tiny import ROOT

SOURCE = SceneQuestionSource(SceneSource(0, "test", 80, 48))


def test_answers_are_true_of_the_scene() -> None:
    sorts: Counter[str] = Counter()
    for index in range(len(SOURCE)):
        things = SOURCE.scenes.scene(index).objects
        for question in SOURCE.questions(index):
            words = question.text.split()
            ((answer, weight),) = question.answers.items()
            assert weight == 1
            sorts[words[1]] += 1
            if words[:2] == ["what", "colour"]:
                assert [thing.colour for thing in things if thing.shape == words[-1]] == [answer]
            elif words[:2] == ["what", "shape"]:
                assert [thing.shape for thing in things if thing.colour == words[-2]] == [answer]
            elif words[0] == "is":
                (thing,) = [thing for thing in things if thing.shape == words[2]]
                (other,) = [other for other in things if other.shape == words[-1]]
                centres = [(one.box[0] + one.box[2]) / 2 for one in (thing, other)]
                assert answer == ("left" if centres[0] < centres[1] else "right")
            else:
                shapes = [thing.shape for thing in things]
                counted = [shape for shape in shapes if words[-1] in ("objects", f"{shape}s", f"{shape}es")]
                assert answer == str(len(counted))
    assert min(sorts[word] for word in ("colour", "shape", "many", "the")) > 10


def test_the_same_questions_are_asked_again() -> None:
    again = SceneQuestionSource(SceneSource(0, "test", 80, 48))
    assert [SOURCE.questions(index) for index in range(20)] == [again.questions(index) for index in range(20)]
    keys = [question.key for index in range(len(SOURCE)) for question in SOURCE.questions(index)]
    assert len(set(keys)) == len(keys) == SOURCE.number_of_samples


def test_the_files_of_the_demo_know_all_words() -> None:
    folder = ROOT / "configs" / "demo"
    vocabulary = (folder / "scenes_questions_vocab.txt").read_text().splitlines()
    scenes = (folder / "scenes_vocab.txt").read_text().splitlines()
    assert vocabulary[: len(scenes)] == scenes
    texts = [question.text for index in range(len(SOURCE)) for question in SOURCE.questions(index)]
    assert {word for text in texts for word in text.split()} | set(ANSWERS) <= set(vocabulary)


def test_scenes_are_judged_by_questions() -> None:
    data = Scenes(image_size=32, test_size=5, judged=("questions",))
    assert set(data.evaluation_sources("test")) == {"scenes_questions"}
