"""The page in a real browser, from a recording to the sound of a moment."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.browsing import BEST, CONTRAST, PLAYER, STICKING_OUT, page_of, visiting
from tests.web.builders import MOMENTS, PatientEncoder, make_listener, write_recording, write_silence

sync_api = pytest.importorskip("playwright.sync_api", reason="needs a driver: pip install playwright")


def recording_page(encoder=None):
    page = pytest.importorskip("amr_model.web.page", reason="needs the page: pip install '.[web]'")
    return functools.partial(page.make_page, make_listener(encoder=encoder))


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """A page whose listener finds MOMENTS in every recording."""
    with page_of(recording_page(), tmp_path_factory.mktemp("visitors")) as address:
        yield address


@pytest.fixture
def visit(browser, address):
    with visiting(browser, address) as page:
        yield page


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
    assert "data:image/png" in first.locator(".ground").evaluate("e => getComputedStyle(e).backgroundImage")
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


def test_silence_is_answered_and_said(visit, tmp_path):
    give(visit, write_silence(tmp_path / "silence.wav", 20.0), "a dog barks")
    visit.click("#find")
    visit.wait_for_selector("#results .mark")
    assert "silent throughout" in visit.inner_text("#results .hint")


def test_what_is_missing_gives_a_message_and_can_be_put_right(visit, tmp_path):
    assert message(visit) == "There is no recording yet. Choose a file, or record one."
    give(visit, write_recording(tmp_path / "street.wav"), "  \n ")
    visit.click("#find")
    visit.wait_for_selector("#results .message:has-text('There is no sentence yet.')")
    visit.fill("#query textarea", "a dog barks")
    visit.click("#find")
    visit.wait_for_selector("#results .mark")
    assert visit.locator("#results .message").count() == 0


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_sticks_out_of_the_screen_or_of_its_card(browser, address, tmp_path, width):
    with visiting(browser, address, viewport={"width": width, "height": 800}) as visit:
        give(visit, write_recording(tmp_path / f"street {'of the old town ' * 8}.wav"), "a dog barks " * 12)
        visit.click("#find")
        visit.wait_for_selector("#results .mark")
        assert visit.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert visit.evaluate(STICKING_OUT) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_the_light_and_in_the_dark(browser, address, tmp_path, scheme):
    with visiting(browser, address, color_scheme=scheme) as visit:
        give(visit, write_recording(tmp_path / "street.wav"), "a dog barks")
        visit.click("#find")
        visit.wait_for_selector("#results .mark")
        texts = ("#title h1", "#title p", "#results .playing", "#results .hint", "#results .downloads a")
        for text in (*texts, "#results h3", "#results th", "#results td", "#colophon p"):
            assert visit.evaluate(CONTRAST, text) >= 4.5, text


def test_results_survive_a_reload_and_the_recording_can_be_asked_again(visit, tmp_path):
    give(visit, write_recording(tmp_path / "street.wav"), "a dog barks\na tram passes")
    visit.click("#find")
    visit.wait_for_selector("#results .mark")
    visit.wait_for_function("location.search.startsWith('?search=')")
    before = visit.inner_html("#results .moments")
    visit.reload()
    visit.wait_for_selector("#results .mark")
    assert visit.inner_html("#results .moments") == before
    assert visit.input_value("#query textarea") == "a dog barks\na tram passes"
    visit.locator(f"#results {BEST}").first.locator("span").click()
    visit.wait_for_function(f"{PLAYER}.currentTime > 0.1")
    visit.fill("#query textarea", "a bell rings")
    visit.click("#find")
    visit.wait_for_selector("#results h3:has-text('a bell rings')")


def test_results_that_are_gone_say_so(browser, address):
    with visiting(browser, f"{address}?search=..%2Fuploads") as visit:
        visit.wait_for_selector("#results .message:has-text('These results are gone.')")


def test_the_moments_can_be_downloaded(visit, tmp_path):
    give(visit, write_recording(tmp_path / "street.wav"), "a dog barks")
    visit.click("#find")
    visit.wait_for_selector("#results .downloads")
    for what, name in (
        ("JSON", "street-moments.json"),
        ("table", "street-moments.csv"),
        ("sounds", "street-moments.zip"),
    ):
        with visit.expect_download() as download:
            visit.click(f"#results .downloads a:has-text('{what}')")
        assert download.value.suggested_filename == name
        assert download.value.path().stat().st_size > 0


def test_a_long_search_shows_how_far_it_is_and_can_be_stopped(browser, tmp_path):
    folder = tmp_path / "visitors"
    folder.mkdir()
    with (
        page_of(recording_page(PatientEncoder()), folder) as address,
        visiting(browser, address) as visit,
    ):
        give(visit, write_recording(tmp_path / "street.wav", 90.0), "a dog barks")
        visit.click("#find")
        visit.wait_for_selector("#results :text('Listening: 0:16 of 1:30')")
        visit.click("#stop")
        visit.wait_for_selector("#results .message:has-text('Stopped.')")
        sync_api.expect(visit.locator("#stop")).to_be_hidden()
        sync_api.expect(visit.locator("#find")).to_be_enabled()
        assert list((folder / "searches").iterdir()) == []


def test_visitors_do_not_see_what_others_gave_or_got(browser, address, tmp_path):
    with visiting(browser, address) as first:
        give(first, write_recording(tmp_path / "street.wav"), "a dog barks")
        first.click("#find")
        first.wait_for_selector("#results .mark")
        cut = first.get_attribute("#results .mark", "data-cut")
        with visiting(browser, address) as second:
            second.wait_for_selector("#results .invitation")
            assert second.locator("#results .moments").count() == 0
            # the folder of all searches can neither be listed nor read
            assert second.request.get(f"{address}{cut.rpartition('/')[0].rpartition('/')[0]}").status >= 400


def test_a_recording_that_is_too_large_is_refused(visit, tmp_path):
    posted = []
    visit.on("request", lambda request: posted.append(request.url) if "/upload?" in request.url else None)
    visit.set_input_files("#recording input[type=file]", write_recording(tmp_path / "long.wav", 150.0))
    visit.wait_for_selector(":text('exceed the maximum allowed size')")
    assert posted == [], "nothing is sent that will be refused"


def test_another_sites_page_can_send_nothing_here(browser, address, tmp_path):
    """A page of another origin posts with the visitor's browser: the server refuses it."""
    page = browser.new_page()
    other = tmp_path / "other.html"
    other.write_text(
        f'<form method="post" enctype="multipart/form-data" action="{address}gradio_api/upload"></form>'
    )
    page.goto(other.as_uri())
    with page.expect_response(lambda response: "/upload" in response.url) as response:
        page.evaluate("document.forms[0].submit()")
    assert response.value.status == 403
    page.close()


def test_the_page_asks_nobody_but_its_own_server(visit, address, tmp_path):
    give(visit, write_recording(tmp_path / "street.wav"), "a dog barks")
    visit.click("#find")
    visit.locator(f"#results {BEST}").first.locator("span").click()
    visit.wait_for_function(f"{PLAYER}.currentTime > 0.1")
    assert [url for url in visit.asked if not url.startswith((address, "data:", "blob:"))] == []
