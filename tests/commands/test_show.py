"""The page of `show` in a browser that is simulated; tests/commands/test_show_browser.py has a real one."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli
from commands import show
from tests.callbacks.judging import Capable
from weakground.comparison import Comparison
from weakground.grounder import Grounder
from weakground.photographs import photographs

WAIT = 200  # tries, a twentieth of a second each
needs_nicegui = pytest.mark.skipif(
    importlib.util.find_spec("nicegui") is None, reason=f"needs the extra 'show': {show.INSTALL}"
)


async def upload(user: Any, name: str, content: bytes) -> None:
    from nicegui import ui
    from nicegui.elements.upload_files import SmallFileUpload

    (element,) = user.find(kind=ui.upload).elements
    await element.handle_uploads([SmallFileUpload(name, "image/png", content)])


def png(size: tuple[int, int] = (30, 20)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "png")
    return file.getvalue()


async def a_photograph_of_the_gallery(user: Any, turn: asyncio.Lock) -> None:
    user.find(marker="china").click()
    user.find("Find").click()
    await user.should_see(marker="map", retries=WAIT)
    assert len(user.find(marker="map").elements) == 6  # three phrases, two models
    await user.should_see("one")
    await user.should_see("two")


async def a_photograph_of_ones_own_and_a_caption(user: Any, turn: asyncio.Lock) -> None:
    await upload(user, "mine.png", png())
    await user.should_see(marker="preview", retries=WAIT)
    (kind,) = user.find(marker="kind").elements
    kind.value = True
    user.find(marker="text").type("a small <b>dog</b> runs")
    user.find("Find").click()
    await user.should_see(marker="words", retries=WAIT)
    await user.should_see("<b>dog</b>")  # as it was written


async def the_threshold(user: Any, turn: asyncio.Lock) -> None:
    user.find(marker="coffee").click()
    user.find("Find").click()
    await user.should_see(marker="map", retries=WAIT)
    pictures = {element.source for element in user.find(marker="map").elements}
    (slider,) = user.find(marker="threshold").elements
    slider.value = 0.9
    await user.should_see("above 90%")
    user.find(marker="threshold").trigger("change")
    await asyncio.sleep(0.1)
    assert {element.source for element in user.find(marker="map").elements} != pictures


async def mistakes_are_answered_in_words(user: Any, turn: asyncio.Lock) -> None:
    user.find("Find").click()
    await user.should_see("There is no photograph yet")
    await upload(user, "letter.jpg", b"Dear Sir")
    await user.should_see("letter.jpg: not readable as an image", retries=WAIT)
    await upload(user, "mine.png", png())
    await user.should_see(marker="preview", retries=WAIT)
    user.find("Find").click()
    await user.should_see("Nothing is sought yet", retries=WAIT)
    await user.should_not_see(marker="map")


async def somebody_else_comes_first(user: Any, turn: asyncio.Lock) -> None:
    user.find(marker="china").click()
    await turn.acquire()
    user.find("Find").click()
    await user.should_see("Others are before you", retries=WAIT)
    await user.should_not_see(marker="map")
    turn.release()
    await user.should_see(marker="map", retries=WAIT)
    assert not turn.locked()


VISITS = (
    a_photograph_of_the_gallery,
    a_photograph_of_ones_own_and_a_caption,
    the_threshold,
    mistakes_are_answered_in_words,
    somebody_else_comes_first,
)


@needs_nicegui
def test_visits() -> None:
    """One after the other, since the simulation takes longer to begin and end than all of them."""
    from nicegui.testing.user_simulation import user_simulation

    from commands.page import Visit

    comparison = Comparison({"one": Grounder(Capable()), "two": Grounder(Capable())})

    async def simulate() -> None:
        turn = asyncio.Lock()
        async with user_simulation(lambda: Visit(comparison, turn).build(photographs())) as user:
            for visit in VISITS:
                await user.open("/")
                await visit(user, turn)

    asyncio.run(simulate())


def test_without_nicegui(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["show"]) == 1
    message = f"error: the page needs NiceGUI, which is not installed: {show.INSTALL}\n"
    assert capsys.readouterr().err == message


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        message = show.obstacle("127.0.0.1", port)
    if importlib.util.find_spec("nicegui") is not None:
        assert message is not None
        assert f"127.0.0.1:{port}" in message
        assert "--port" in message


@needs_nicegui
def test_an_unknown_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "--model", "nobody", "--runs", str(tmp_path), "--port", "0"]) == 1
    assert "there is no model 'nobody'" in capsys.readouterr().err
