"""The page of `show` in a real browser without a window (Debian: apt install chromium chromium-driver):

python -m pytest tests/commands/test_show_browser.py -m browser
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tiny import ROOT

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
MISSING = [name for name in ("nicegui", "selenium") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        bool(MISSING) or CHROMIUM is None or DRIVER is None,
        reason="needs the extra 'show', selenium, chromium and chromium-driver",
    ),
]


def browser() -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


class Visitor:
    """Somebody who looks at the page."""

    def __init__(self, address: str) -> None:
        self.browser = browser()
        self.browser.get(address)
        self.sees("Where is it?")

    def text(self) -> str:
        return self.browser.find_element("tag name", "body").text

    def waits_for(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, f"no {what} on the page:\n{self.text()}"
            time.sleep(0.1)

    def sees(self, text: str) -> None:
        self.waits_for(lambda: text in self.text(), text)

    def uploads(self, path: Path) -> None:
        self.browser.find_element("css selector", "input[type=file]").send_keys(str(path))

    def takes_sample(self, number: int) -> None:
        self.browser.find_elements("css selector", ".cursor-pointer")[number].click()

    def writes(self, text: str) -> None:
        from selenium.webdriver.common.keys import Keys

        area = self.browser.find_element("tag name", "textarea")
        area.send_keys(Keys.CONTROL, "a")
        area.send_keys(Keys.BACKSPACE)
        area.send_keys(text)

    def presses_find(self) -> None:
        buttons = self.browser.find_elements("tag name", "button")
        next(button for button in buttons if button.text.strip() == "Find").click()

    def maps(self) -> int:
        return self.text().count("score ")

    def requested(self) -> set[str]:
        """All addresses from which something was loaded."""
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return {
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of the page, and the folder for its temporary files."""
    scratch = tmp_path_factory.mktemp("scratch")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
    del environment["PYTEST_CURRENT_TEST"]  # by which NiceGUI would know that it is tested
    command = [sys.executable, "-m", "tests.commands.show_program", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "Ctrl-C ends it" in process.stdout.readline()
    yield f"http://127.0.0.1:{port}/", scratch
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert rest == ""  # nothing of what visitors did is said
    assert list(scratch.iterdir()) == []


@pytest.fixture
def visitors(served: tuple[str, Path]) -> Iterator[Callable[[], Visitor]]:
    """Opens the page once more."""
    opened: list[Visitor] = []

    def open_page() -> Visitor:
        opened.append(Visitor(served[0]))
        return opened[-1]

    yield open_page
    for visitor in opened:
        visitor.browser.quit()


def test_an_upload_and_phrases(
    visitors: Callable[[], Visitor], served: tuple[str, Path], tmp_path: Path
) -> None:
    # More than a megabyte, which web servers usually spool to the disk.
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "mine.png")
    visitor = visitors()
    visitor.uploads(tmp_path / "mine.png")
    visitor.waits_for(
        lambda: len(visitor.browser.find_elements("css selector", "img[src^='data:image/jpeg']")) > 6,
        "preview",
    )
    assert list(served[1].iterdir()) == []
    visitor.writes("a dog\na cat")
    visitor.presses_find()
    visitor.waits_for(lambda: visitor.maps() == 4, "maps of two phrases by two models")
    own = (served[0], f"blob:{served[0]}", "data:", "chrome:")
    elsewhere = {url for url in visitor.requested() if not url.startswith(own)}
    assert elsewhere == set()
    assert [entry for entry in visitor.browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_mistakes(visitors: Callable[[], Visitor], tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear Sir")
    Image.new("1", (8000, 6000)).save(tmp_path / "huge.png")
    visitor = visitors()
    visitor.presses_find()
    visitor.sees("There is no photograph yet")
    visitor.uploads(tmp_path / "letter.jpg")
    visitor.sees("letter.jpg: not readable as an image")
    visitor.uploads(tmp_path / "huge.png")
    visitor.sees("huge.png has 8000x6000 pixels; make it smaller")
    visitor.takes_sample(0)
    visitor.waits_for(lambda: "make it smaller" not in visitor.text(), "fresh page")
    visitor.writes(" ")
    visitor.presses_find()
    visitor.sees("Nothing is sought yet")
    assert visitor.maps() == 0


def test_two_visitors_at_once(visitors: Callable[[], Visitor]) -> None:
    first = visitors()
    second = visitors()
    first.takes_sample(0)
    first.sees("")
    second.takes_sample(1)
    time.sleep(1)
    first.presses_find()
    second.presses_find()
    second.sees("Others are before you")
    first.waits_for(lambda: first.maps() == 6, "three phrases by two models")
    second.waits_for(lambda: second.maps() == 4, "two phrases by two models")
    assert "the temple" in first.text()
    assert "the temple" not in second.text()
