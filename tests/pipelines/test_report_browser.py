"""A report in a real browser: it asks for nothing, fits a phone, and a click on a moment plays it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clotho_long.audio.io import encode_mp3
from pipelines.report import Table, write_report
from tests.builders import tone
from tests.pipelines.test_report import make_example, make_page, make_picture
from tests.web.browsing import CHROMIUM, CONTRAST

sync_api = pytest.importorskip("playwright.sync_api", reason="needs a driver: pip install playwright")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: apt-get install chromium, or any Chromium or Chrome on PATH"
)

PATIENCE_MS = 60_000  # a busy machine is no failure
VALUE = ", ".join(f"model.setting_{number}=0.5" for number in range(40))
PLAYER = "document.querySelector('audio')"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    """A report on a phone, whose every request and failing script is remembered."""
    sound = encode_mp3(tone(440, 60.0, rate_hz=16_000), 16_000)
    example = make_example(sound_mp3=sound, spectrogram_png=b"")
    settings = Table(header=("setting", "value"), rows=(("a.long_name_of_a_setting", VALUE),), words=(1,))
    report = write_report(make_page(make_picture(), example, settings), tmp_path)
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
    page.click(".truth .mark")
    page.wait_for_function(f"{PLAYER}.currentTime > 6.1")
    page.wait_for_function("!document.querySelector('.truth .playhead').hidden")
    place = page.evaluate("parseFloat(document.querySelector('.truth .playhead').style.left)")
    assert 10 <= place < 21  # percent: the moment lies at 6 to 12 s of 60 s
    page.evaluate(f"{PLAYER}.playbackRate = 8")
    page.wait_for_function(f"{PLAYER}.paused")
    assert page.evaluate(f"{PLAYER}.currentTime") < 20, "it stops where the moment ends"


def test_the_page_asks_for_nothing_and_fits_a_phone(page: Any) -> None:
    assert all(url.startswith(("file:", "data:")) for url in page.asked)
    assert sum(url.startswith("file:") for url in page.asked) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("width", [360, 1280])
def test_values_of_settings_wrap_and_start_at_the_left_of_their_column(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    name, value = (page.locator(f".prose tbody {cell}").bounding_box() for cell in ("th", "td"))
    assert value["x"] + value["width"] <= width
    assert value["height"] > 40, "several lines"
    assert value["x"] == pytest.approx(name["x"] + name["width"], abs=2)
    assert page.locator(".prose tbody td").evaluate("e => getComputedStyle(e).textAlign") == "left"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_the_light_and_in_the_dark(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for text in (
        "h1",
        ".lead",
        "nav a",
        "h2",
        ".note",
        ".verdict",
        ".axis span",
        ".label",
        "td",
        "figcaption",
    ):
        assert page.evaluate(CONTRAST, text) >= 4.5, text
