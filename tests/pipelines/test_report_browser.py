"""A report in a real browser: it asks for nothing, fits a phone, and a click on a moment plays it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clotho_long.audio.io import encode_mp3
from pipelines.report import write_report
from tests.builders import tone
from tests.pipelines.test_report import make_example, make_page, make_picture
from tests.web.builders import CHROMIUM

sync_api = pytest.importorskip("playwright.sync_api", reason="needs a driver: pip install playwright")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: apt-get install chromium, or any Chromium or Chrome on PATH"
)

PATIENCE_MS = 60_000  # a busy machine is no failure
PLAYER = "document.querySelector('audio')"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """A report on a phone, whose every request and failing script is remembered."""
    sound = encode_mp3(tone(440, 60.0, rate_hz=16_000), 16_000)
    example = make_example(sound_mp3=sound, spectrogram_png=b"")
    report = write_report(make_page(make_picture(), example), tmp_path)
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"],
        )
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        page.asked, page.failed = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.failed.append(str(error)))
        page.goto(report.as_uri())
        yield page
        assert page.failed == []
        browser.close()


def test_a_click_on_a_moment_plays_it_and_a_line_shows_where(page: Any) -> None:
    page.click(".truth button")
    page.wait_for_function(f"{PLAYER}.currentTime > 6.1")
    page.wait_for_function("document.querySelector('.truth .playhead').style.display === 'block'")
    place = page.evaluate("parseFloat(document.querySelector('.truth .playhead').style.left)")
    assert 10 <= place < 21  # percent: the moment lies at 6 to 12 s of 60 s
    page.evaluate(f"{PLAYER}.playbackRate = 8")
    page.wait_for_function(f"{PLAYER}.paused")
    assert page.evaluate(f"{PLAYER}.currentTime") < 20, "it stops where the moment ends"


def test_the_page_asks_for_nothing_and_fits_a_phone(page: Any) -> None:
    assert all(url.startswith(("file:", "data:")) for url in page.asked)
    assert sum(url.startswith("file:") for url in page.asked) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
