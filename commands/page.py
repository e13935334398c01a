"""The layout of the page of `python cli.py show`. What it displays is computed by `weakground.comparison`.

Nothing is loaded from elsewhere: NiceGUI serves its scripts and fonts itself. Uploads are kept in memory, for
as long as their visitor's page is open.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from nicegui import ui
from starlette.formparsers import MultiPartParser

from datamodules.errors import DataError
from datamodules.storage.images import resize_image
from weakground.comparison import SHOWN, Answer, Comparison, Words, read_photo
from weakground.photographs import Photograph

MOST_BYTES = 25_000_000  # of an upload
# Backgrounds of the groups of words, in turn.
COLOURS = ("#bfdbfe", "#fde68a", "#bbf7d0", "#fecaca", "#ddd6fe", "#fed7aa", "#a5f3fc", "#e5e7eb")
# The part of an uploader that visitors see: a button, onto which files can be dropped, too.
CHOOSE = """
<q-btn flat no-caps type="a" icon="add_photo_alternate" label="Choose or drop a photograph"
  class="full-width">
  <q-uploader-add-trigger />
</q-btn>
"""
LEGEND = "The heat map over the photograph: warm where the phrase is. White: the point; orange: the box."


def page(comparison: Comparison, samples: Sequence[Photograph]) -> Callable[[], None]:
    """The function that builds the page for each visitor.

    Args:
        comparison: the models; one visitor after the other asks them.
        samples: photographs to choose from.
    """
    # An upload that is larger than this would be spooled to the disk.
    MultiPartParser.spool_max_size = MOST_BYTES
    turn = asyncio.Lock()
    return lambda: Visit(comparison, turn).build(samples)


class Visit:
    """The page of one visitor.

    Args:
        comparison: the models.
        turn: held by the visitor whose question is being answered.
    """

    def __init__(self, comparison: Comparison, turn: asyncio.Lock) -> None:
        self.comparison = comparison
        self.turn = turn
        self.photo: np.ndarray | None = None
        self.answer: Answer | None = None

    # Layout.

    def build(self, samples: Sequence[Photograph]) -> None:
        """Builds the page."""
        ui.colors(primary="#334155")
        with ui.element().classes("w-full flex flex-col md:flex-row md:flex-nowrap gap-8 items-start"):
            with ui.column().classes("w-80 max-w-full shrink-0 gap-3 md:sticky md:top-4"):
                ui.label("Where is it?").classes("text-2xl font-semibold")
                self._build_choice(samples)
                self._build_question()
            with ui.column().classes("grow min-w-0 max-w-full gap-3"):
                self.message = ui.label().classes("text-red-700 text-base").mark("message")
                self.message.set_visibility(False)
                self.results = ui.column().classes("w-full gap-4").mark("results")
        with self.results:
            ui.label("Choose a photograph, write what is to be found, and press Find.").classes(
                "text-slate-500 pt-2"
            )

    def _build_choice(self, samples: Sequence[Photograph]) -> None:
        ui.add_css(".q-uploader__list { display: none }")
        self.upload = ui.upload(
            auto_upload=True,
            max_file_size=MOST_BYTES,
            on_upload=self.take_upload,
            on_rejected=lambda: self.complain(
                f"This file is larger than {MOST_BYTES // 1_000_000} MB; choose a smaller one."
            ),
        )
        self.upload.props("flat bordered").classes("w-full").add_slot("header", CHOOSE)
        with ui.row().classes("gap-2"):
            for sample in samples:
                shown = thumbnail(sample)
                picture = ui.image(shown).classes("w-11 h-11 rounded cursor-pointer").props("fit=cover")
                picture.mark(sample.path.stem).tooltip(sample.caption)
                picture.on("click", lambda sample=sample: self.take_sample(sample))
        self.preview = ui.image().props("fit=scale-down").classes("w-full max-h-56 rounded").mark("preview")
        self.preview.set_visibility(False)

    def _build_question(self) -> None:
        self.kind = ui.toggle({False: "Phrases", True: "Caption"}, value=False, on_change=self.explain)
        self.kind.props("no-caps dense padding='xs md'").mark("kind")
        self.text = ui.textarea().props("outlined autogrow").classes("w-full").mark("text")
        self.explain()
        self.threshold_label = ui.label().classes("text-sm text-slate-600")
        self.threshold = ui.slider(min=0.1, max=0.9, step=0.05, value=0.5).mark("threshold")
        self.threshold.on_value_change(self.say_threshold)
        self.threshold.on("change", self.move_boxes)  # when it is let go
        self.say_threshold()
        self.button = ui.button("Find", on_click=self.find).classes("w-full").props("no-caps")

    # What a visitor does.

    def explain(self) -> None:
        """Says what is to be written."""
        caption = "A caption; its noun phrases are sought"
        self.text.props["label"] = caption if self.kind.value else "What is sought, a phrase on each line"
        self.text.update()

    def say_threshold(self) -> None:
        """Says what the slider stands for."""
        self.threshold_label.text = f"A box holds what is above {self.threshold.value:.0%} of a map's range"

    async def take_upload(self, event: Any) -> None:
        """Reads an upload."""
        self.upload.reset()
        try:
            content = await event.file.read()
            self.take(await asyncio.to_thread(read_photo, BytesIO(content), event.file.name))
        except DataError as error:
            self.complain(str(error))

    def take_sample(self, sample: Photograph) -> None:
        """Takes a photograph of the gallery, with what can be found in it."""
        self.take(read_photo(sample.path, sample.path.name))
        self.text.value = sample.caption if self.kind.value else "\n".join(sample.phrases)

    def take(self, photo: np.ndarray) -> None:
        """Makes a photograph the one that is asked about."""
        self.photo = photo
        self.answer = None
        self.message.set_visibility(False)
        self.results.clear()
        self.preview.set_source(as_url(resize_image(photo, SHOWN)))
        self.preview.set_visibility(True)

    async def find(self) -> None:
        """Asks the models."""
        self.message.set_visibility(False)
        if self.photo is None:
            self.complain("There is no photograph yet: choose one of yours, or one of the gallery.")
            return
        question = (self.photo, self.text.value or "", self.kind.value, self.threshold.value)
        self.button.disable()
        self.button.text = "Others are before you ..." if self.turn.locked() else "Looking ..."
        try:
            async with self.turn:
                self.button.text = "Looking ..."
                self.answer = await asyncio.to_thread(self.comparison.ask, *question)
            self.display()
        except DataError as error:
            self.complain(str(error))
        except Exception:
            self.complain("Something went wrong; the terminal in which the page was started says what.")
            raise
        finally:
            self.button.text = "Find"
            self.button.enable()

    def move_boxes(self) -> None:
        """Draws the boxes anew when the threshold has changed."""
        if self.answer is not None:
            self.answer = self.answer.at(self.threshold.value)
            self.display()

    # What it sees.

    def complain(self, message: str) -> None:
        """Says what is wrong, in the place of results."""
        self.answer = None
        self.results.clear()
        self.message.text = message
        self.message.set_visibility(True)

    def display(self) -> None:
        """Shows the answer."""
        assert self.answer is not None
        answer = self.answer
        self.results.clear()
        with self.results:
            if answer.decisions:
                ui.label(LEGEND).classes("text-sm text-slate-500")
                display_maps(answer)
            for name, words in answer.words.items():
                display_words(name, answer.caption, words)
            for name, complaint in answer.complaints.items():
                ui.label(f"{name}: {complaint}").classes("text-red-700 text-sm")


def display_maps(answer: Answer) -> None:
    """A column for each model, a row for each phrase; of a single model, two phrases a row."""
    names = list(answer.decisions)
    with ui.grid(columns=max(2, len(names))).classes("gap-4"):
        for name in names:
            heading = ui.label(name).classes("font-semibold break-all")
            if len(names) == 1:
                heading.classes("col-span-2")
        for query in range(len(answer.phrases)):
            for name in names:
                display_map(answer, name, query)


def display_map(answer: Answer, model: str, query: int) -> None:
    """What a model says of a phrase."""
    picture = answer.picture(model, query)
    decision = answer.decisions[model][query]
    box = "no box"
    if decision.box is not None:
        box = "box {:.0f} {:.0f} {:.0f} {:.0f}".format(*decision.box)
    with ui.column().classes("gap-1"):
        width = f"width: {picture.shape[1]}px; max-width: 100%"
        ui.image(as_url(picture)).classes("rounded").style(width).mark("map")
        ui.label(answer.phrases[query]).classes("font-medium")
        numbers = "point {} {}, {}, score {:.2f}".format(*decision.point, box, decision.score)
        ui.label(numbers).classes("text-sm text-slate-600")


def display_words(name: str, caption: Sequence[str], words: Words) -> None:
    """A caption whose groups are coloured and whose tags are framed."""
    says = []
    if words.groups is not None:
        says.append("words of one colour belong together")
    if words.tags is not None:
        says.append("framed words are those that it sees in the photograph")
    ui.label(f"{name}: {'; '.join(says)}").classes("font-semibold")
    with ui.row().classes("gap-1").mark("words"):
        for number, word in enumerate(caption):
            style = "padding: 1px 6px; border-radius: 4px; border: 2px solid transparent;"
            group = None if words.groups is None else words.groups[number]
            if group is not None:
                style += f" background: {COLOURS[group % len(COLOURS)]};"
            if words.tags is not None and words.tags[number]:
                style += " border-color: #334155;"
            ui.label(word).style(style)


def thumbnail(sample: Photograph) -> str:
    """A sample as small as it stands in the gallery, as a URL."""
    image = read_photo(sample.path, sample.path.name)
    height, width = image.shape[:2]
    scale = 96 / min(height, width)
    size = (round(width * scale), round(height * scale))
    return as_url(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def as_url(picture: np.ndarray) -> str:
    """(H,W,3) uint8 RGB as a URL that holds the picture itself, so that no file is needed."""
    _, content = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
