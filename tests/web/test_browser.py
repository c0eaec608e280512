"""The page in a real browser, from a recording to the sound of a moment."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.builders import CHROMIUM, MOMENTS, make_listener, write_recording, write_silence

web = pytest.importorskip("amr_model.web.page", reason="needs the page: pip install '.[web]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs a driver: pip install playwright")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: apt-get install chromium, or any Chromium or Chrome on PATH"
)

BROWSER_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # a microphone that beeps, and permission to use it
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
PATIENCE_MS = 60_000  # a busy machine is no failure
BEST = ".mark[data-rank='1']"
PLAYER = "document.querySelector('#results audio')"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """A page whose listener finds MOMENTS in every recording."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cuts_dir = tmp_path_factory.mktemp("cuts")
    with web.serving(make_listener(), host="127.0.0.1", port=port, cuts_dir=cuts_dir):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(BROWSER_ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, address):
    """A new visitor on the page, whose every request and failing script is remembered."""
    context = browser.new_context(viewport={"width": 1180, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.asked, page.failed = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.failed.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#find")
    yield page
    assert page.failed == []
    context.close()


def give(page, recording: Path, text: str) -> None:
    page.set_input_files("#recording input[type=file]", recording)
    page.wait_for_selector(f"#recording :text('{recording.suffix}')")
    page.fill("#query textarea", text)


def message(page) -> str:
    page.click("#find")
    return page.wait_for_selector("#results .message").inner_text()


def test_from_a_recording_to_the_sound_of_a_moment(visit, tmp_path):
    give(visit, write_recording(tmp_path / "harbour & market, évening.wav"), "a dog barks\n\na tram passes")
    visit.click("#find")
    visit.wait_for_selector("#results .mark")
    assert visit.locator("#results h3").all_inner_texts() == ["a dog barks", "a tram passes"]
    assert visit.locator("#results .mark").count() == 2 * len(MOMENTS)
    first = visit.locator("#results article").first
    assert first.locator("tbody tr").first.inner_text().split()[:4] == ["1", "0:04", "0:07", "3"]
    # the picture is on the page, and the first moment lies on it where it lies in the recording
    assert "data:image/png" in first.locator(".picture").evaluate("e => getComputedStyle(e).backgroundImage")
    picture, mark = first.locator(".picture").bounding_box(), first.locator(BEST).bounding_box()
    assert (mark["x"] - picture["x"]) / picture["width"] == pytest.approx(4 / 20, abs=0.01)
    assert mark["width"] / picture["width"] == pytest.approx(3 / 20, abs=0.01)
    first.locator(f"{BEST} span").click()
    visit.wait_for_function(f"{PLAYER}.currentTime > 0.3")
    assert visit.evaluate(f"{PLAYER}.duration") == pytest.approx(3.0, abs=0.05)
    assert visit.evaluate(f"{PLAYER}.error") is None
    assert visit.inner_text("#results .playing") == "a dog barks, 1: 0:04 to 0:07"
    playhead = first.locator(".playhead")
    sync_api.expect(playhead).to_be_visible()
    assert first.locator(".active").count() == 2  # on the picture and in the table
    # a row of the other query's table plays too
    visit.locator("#results article").nth(1).locator("tbody tr").nth(1).get_by_role("button").click()
    visit.wait_for_function(
        f"{PLAYER}.duration > 1.9 && {PLAYER}.duration < 2.1 && {PLAYER}.currentTime > 0.1"
    )
    sync_api.expect(playhead).to_be_hidden()


def test_a_moment_can_be_played_from_the_keyboard(visit, tmp_path):
    give(visit, write_recording(tmp_path / "street.wav"), "a dog barks")
    visit.click("#find")
    visit.locator(f"#results {BEST}").first.focus()
    visit.keyboard.press("Enter")
    visit.wait_for_function(f"{PLAYER}.currentTime > 0.1")


def test_what_the_microphone_recorded_is_searched(visit):
    visit.get_by_role("tab", name="Microphone").click()
    visit.locator("#microphone").get_by_role("button", name="Record").click()
    visit.wait_for_timeout(3500)  # the length of the recording
    with visit.expect_response(lambda response: "/upload" in response.url):
        visit.locator("#microphone").get_by_role("button", name="Stop").click()
    visit.locator("#microphone").get_by_role("button", name="Play", exact=True).wait_for()
    visit.fill("#query textarea", "a beep")
    visit.click("#find")
    visit.wait_for_selector("#results .mark")
    visit.locator(f"#results {BEST}").first.locator("span").click()
    visit.wait_for_function(f"{PLAYER}.currentTime > 0.1")


def test_a_file_without_sound_gives_a_message(visit, tmp_path):
    notes = tmp_path / "notes.wav"
    notes.write_text("this is no sound")
    give(visit, notes, "a dog barks")
    assert re.match(r"notes\.wav is not audio that can be decoded", message(visit))


def test_silence_gives_a_message(visit, tmp_path):
    give(visit, write_silence(tmp_path / "silence.wav"), "a dog barks")
    assert message(visit) == "silence.wav holds nothing but silence. Choose a recording with sound."


def test_what_is_missing_gives_a_message_and_can_be_put_right(visit, tmp_path):
    assert message(visit) == "There is no recording yet. Choose a file, or record one."
    give(visit, write_recording(tmp_path / "street.wav"), "  \n ")
    visit.click("#find")
    visit.wait_for_selector("#results .message:has-text('There is no sentence yet.')")
    visit.fill("#query textarea", "a dog barks")
    visit.click("#find")
    visit.wait_for_selector("#results .mark")
    assert visit.locator("#results .message").count() == 0


def test_a_narrow_screen_shows_everything_without_scrolling_sideways(visit, tmp_path):
    visit.set_viewport_size({"width": 400, "height": 800})
    give(visit, write_recording(tmp_path / "street.wav"), "a dog barks")
    visit.click("#find")
    visit.wait_for_selector("#results .mark")
    assert visit.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    button = visit.locator("#results tbody button").first.bounding_box()
    assert button["x"] + button["width"] < 400


def test_the_page_asks_nobody_but_its_own_server(visit, address, tmp_path):
    give(visit, write_recording(tmp_path / "street.wav"), "a dog barks")
    visit.click("#find")
    visit.locator(f"#results {BEST}").first.locator("span").click()
    visit.wait_for_function(f"{PLAYER}.currentTime > 0.1")
    assert [url for url in visit.asked if not url.startswith((address, "data:", "blob:"))] == []
