"""The page of a collection in a real browser: ask, see, hear, narrow down, take home."""

from __future__ import annotations

import functools
import json
import math
import re
import shutil
import urllib.parse
import wave
import zipfile
from collections.abc import Iterator

import pandas
import pytest

from tests.index.standin import write_sound
from tests.web.browsing import BEST, CONTRAST, PLAYER, STICKING_OUT, page_of, visiting
from tests.web.collection import (
    NUM_RECORDINGS,
    event_of,
    make_collection,
    make_searcher,
    standin_encoder,
)

pytest.importorskip("lancedb", reason="needs the vector store: pip install '.[search]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs a driver: pip install playwright")
__all__ = ["standin_encoder"]  # a fixture is found by its name

HITS = "#results .hit"


@pytest.fixture(scope="module")
def collection(tmp_path_factory, standin_encoder):
    root = tmp_path_factory.mktemp("collection")
    make_collection(root)
    return root


@pytest.fixture(scope="module")
def visitors(tmp_path_factory):
    return tmp_path_factory.mktemp("visitors")


@pytest.fixture(scope="module")
def address(collection, visitors) -> Iterator[str]:
    pytest.importorskip("gradio", reason="needs the page: pip install '.[web]'")
    from amr_model.web import index_page

    searcher = make_searcher(collection / "heard")
    with page_of(functools.partial(index_page.make_page, searcher), visitors) as address:
        yield address


@pytest.fixture
def visit(browser, address):
    with visiting(browser, address) as page:
        yield page


def ask(page, text: str, *, least: float = 0.5, awaited: str = HITS) -> None:
    page.fill("#query textarea", text)
    page.fill("#min-score input[type=number]", str(least))
    page.press("#min-score input[type=number]", "Tab")
    page.click("#find")
    page.wait_for_selector(awaited)


def open_sound_tab(page) -> None:
    page.get_by_role("tab", name="Sound").click()
    page.locator("#recording").wait_for(state="visible")


def give_sound(page, sound) -> None:
    open_sound_tab(page)
    page.set_input_files("#recording input[type=file]", sound)
    # its name stands there while it is sent, too; it can be taken away only when it has arrived
    page.locator("#recording").get_by_role("button", name="Clear").wait_for()


def names(page) -> list[str]:
    return page.locator("#results .recording").all_inner_texts()


def takes(band: int) -> list[str]:
    """What recordings with a sound in a band are called, in order."""
    return sorted(
        f"{'market' if number % 2 else 'harbour'}/take {number:02d}.wav"
        for number in range(NUM_RECORDINGS)
        if event_of(number)[0] == band
    )


def test_from_a_sentence_to_the_sound_of_moments_in_many_recordings(visit):
    ask(visit, "band 1\nband 2")
    assert visit.locator("#results h3").all_inner_texts() == ["band 1", "band 2"]
    first = visit.locator("#results article").first
    assert sorted(first.locator(".recording").all_inner_texts()) == takes(1)
    assert first.locator(".rank").all_inner_texts() == ["1", "2", "3", "4"]
    scores = [float(text) for text in first.locator(".score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= 0.5
    best = first.locator(".hit").first
    number = int(best.locator(".recording").inner_text()[-6:-4])
    _, onset_s, offset_s = event_of(number)
    assert best.locator(".times").inner_text() == f"0:{onset_s:02d} to 0:{offset_s:02d} of 0:24"
    # the moment lies on the picture where it lies in its excerpt, and the curve below stands there too
    picture, mark = best.locator(".picture").bounding_box(), best.locator(BEST).bounding_box()
    assert (mark["x"] - picture["x"]) / picture["width"] == pytest.approx(3 / 9, abs=0.02)
    assert mark["width"] / picture["width"] == pytest.approx(3 / 9, abs=0.02)
    drawn = best.locator(".ground").evaluate("e => getComputedStyle(e).backgroundImage")
    png = visit.request.get(re.search(r'url\("([^"]+)"\)', drawn).group(1))
    assert png.body().startswith(b"\x89PNG")
    points = [point.split(",") for point in best.locator("polygon").get_attribute("points").split()]
    assert min(float(y) for x, y in points if 34 < float(x) < 66) < 50
    # every moment can be heard, with three seconds before and after it
    for place in range(visit.locator(HITS).count()):
        visit.locator(HITS).nth(place).get_by_role("button", name="Play", exact=False).last.click()
        visit.wait_for_function(f"{PLAYER}.currentTime > 0.1")
        assert visit.evaluate(f"{PLAYER}.error") is None
        assert visit.evaluate(f"{PLAYER}.duration") == pytest.approx(9.0, abs=0.05)
        visit.evaluate(f"{PLAYER}.pause()")
    assert visit.inner_text("#results .playing").startswith(tuple(takes(2)))


def test_the_moments_that_are_heard_are_those_of_the_recording(visit, collection):
    ask(visit, "band 3")
    hit = visit.locator(HITS).first
    cut = visit.request.get(urllib.parse.urljoin(visit.url, hit.get_attribute("data-cut"))).body()
    name = hit.locator(".recording").inner_text()
    with wave.open(str(collection / "walks" / name)) as whole:
        onset_s = event_of(int(name[-6:-4]))[1]
        whole.setpos((onset_s - 3) * whole.getframerate())
        assert cut[44:] == whole.readframes(9 * whole.getframerate())


def test_a_search_can_be_narrowed_to_recordings(visit):
    visit.click("#only input")
    visit.get_by_role("option", name="harbour/take 06.wav").click()
    visit.keyboard.press("Escape")
    ask(visit, "band 1")
    assert names(visit) == ["harbour/take 06.wav"]
    assert "Searched: 1 recording, 0:24 of sound." in visit.inner_text("#results .hint")
    # a part of a name, after a reload that brings the first choice back
    visit.reload()
    visit.wait_for_selector(HITS)
    assert "harbour/take 06.wav" in visit.inner_text("#only")
    visit.locator("#only").get_by_role("button", name="Clear").click()
    visit.fill("#only input", "MARKET")
    visit.keyboard.press("Enter")
    visit.click("#find")
    visit.wait_for_selector("#results .recording:has-text('market')")
    assert sorted(names(visit)) == [name for name in takes(1) if name.startswith("market")]


def test_nothing_found_is_an_answer(visit):
    ask(visit, "band 5", awaited="#results .nothing")
    assert visit.inner_text("#results .nothing").startswith(
        "Nothing found. No moment in 20 recordings reaches a score of 0.5."
    )
    assert visit.inner_text("#results .playing") == "0 moments in 0 recordings"


@pytest.mark.parametrize(
    ("only", "text", "problem"),
    [("", " ", "There is no sentence or sound yet."), ("../../etc", "band 1", "No recording’s name holds")],
)
def test_what_is_missing_gives_a_message(visit, only, text, problem):
    if only:
        visit.fill("#only input", only)
        visit.keyboard.press("Enter")
    ask(visit, text, awaited="#results .message")
    assert problem in visit.inner_text("#results .message")


def test_a_sound_finds_what_sounds_like_it_and_a_wrong_file_gives_a_message(visit, tmp_path):
    notes = tmp_path / "notes.wav"
    notes.write_text("this is no sound")
    give_sound(visit, notes)
    visit.click("#find")
    told = visit.wait_for_selector("#results .message").inner_text()
    assert re.match(r"notes\.wav is not audio that can be decoded", told)
    visit.locator("#recording").get_by_role("button", name="Clear").click()
    give_sound(visit, write_sound(tmp_path / "bark.wav", [(4, 0, 4)], length_s=4, seed=99))
    visit.click("#find")
    visit.wait_for_selector(HITS)
    assert visit.locator("#results h3").all_inner_texts() == ["sounds like bark.wav"]
    assert set(names(visit)[:4]) == set(takes(4))
    visit.locator(HITS).first.click()
    visit.wait_for_function(f"{PLAYER}.currentTime > 0.1")


def test_an_upload_that_is_too_large_is_not_sent(visit, tmp_path):
    posted = []
    visit.on("request", lambda request: posted.append(request.url) if "/upload?" in request.url else None)
    long = write_sound(tmp_path / "long.wav", length_s=300)
    open_sound_tab(visit)
    visit.set_input_files("#recording input[type=file]", long)
    visit.wait_for_selector(":text('exceed the maximum allowed size')")
    assert posted == []


def test_labels_and_sounds_can_be_taken_home(visit, tmp_path):
    ask(visit, "band 0\nband 1")
    files = {}
    for what in ("JSON", "table", "labels", "sounds"):
        with visit.expect_download() as download:
            visit.click(f"#results .downloads a:has-text('{what}')")
        files[what] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[what])
    lines = [json.loads(line) for line in files["JSON"].read_text().splitlines()]
    assert [len(line["moments"]) for line in lines] == [4, 4]
    table = pandas.read_csv(files["table"])
    assert sorted(table["recording"]) == sorted(takes(0) + takes(1))
    for row in table.itertuples():
        assert (row.start, row.end) == event_of(int(row.recording[-6:-4]))[1:]
    with zipfile.ZipFile(files["labels"]) as labels:
        assert labels.testzip() is None
        assert {name.split("/")[0] for name in labels.namelist()} == {
            "audacity", "raven.txt", "reaper.csv", "srt", "textgrid",
        }  # fmt: skip
        with labels.open("raven.txt") as raven:
            assert len(pandas.read_csv(raven, sep="\t")) == 8
    with zipfile.ZipFile(files["sounds"]) as sounds:
        assert sounds.testzip() is None
        for name in sounds.namelist():
            with sounds.open(name) as file, wave.open(file) as sound:
                assert sound.getnframes() == 9 * sound.getframerate()


def test_two_visitors_at_once_each_get_their_own_answer(browser, address, visitors):
    with visiting(browser, address) as first, visiting(browser, address) as second:
        for page, text in ((first, "band 1"), (second, "band 2")):
            page.fill("#query textarea", text)
            page.fill("#min-score input[type=number]", "0.5")
            page.press("#min-score input[type=number]", "Tab")
        first.click("#find")
        second.click("#find")
        for page, band in ((first, 1), (second, 2)):
            page.wait_for_selector(HITS)
            assert page.inner_text("#results h3") == f"band {band}"
            assert sorted(names(page)) == takes(band)
        folders = [page.get_attribute(HITS, "data-cut").split("/")[-2] for page in (first, second)]
        assert folders[0] != folders[1]
        assert {path.name for path in (visitors / "searches").iterdir()} >= set(folders)


def test_nothing_but_what_a_search_made_is_served(visit, address, collection, visitors, tmp_path):
    ask(visit, "band 1")
    cut = urllib.parse.urljoin(address, visit.get_attribute(HITS, "data-cut"))
    assert visit.request.get(cut).status == 200
    served, folder = f"{address}gradio_api/file=", cut.rpartition("/")[0]
    secret = collection / "walks" / "harbour" / "take 06.wav"
    up = "/".join([".."] * 30)
    refused = [
        f"{served}{secret}",  # the collection itself: just cuts of it are given out
        f"{served}{collection / 'heard' / 'index.json'}",
        f"{served}/etc/passwd",
        f"{folder}/{up}/etc/passwd",
        f"{folder}/{up.replace('.', '%2e')}/etc/passwd",
        f"{folder}/{up.replace('/', '%2f')}%2fetc%2fpasswd",
        f"{folder}/..%5c..%5cindex.json",
        f"{folder.rpartition('/')[0]}",  # the folder of all searches
        f"{folder}",
        f"{served}{visitors}/.in-use",
        f"{address}?search=..%2F..%2Fheard",
    ]
    for url in refused:
        answer = visit.request.get(url)
        assert answer.status >= 400 or b"Find the moment" in answer.body(), url
        assert b"root:" not in answer.body(), url
        assert b"RIFF" not in answer.body()[:4], url
    link = visitors / "searches" / "link"
    link.symlink_to(secret)
    assert visit.request.get(f"{served}{link}").status >= 400
    link.unlink()


def test_a_recording_that_is_gone_is_shown_with_a_line(browser, address, collection):
    kept = collection / "walks" / "harbour" / "take 18.wav"
    shutil.move(kept, collection / "moved.wav")
    try:
        with visiting(browser, address) as visit:
            ask(visit, "band 3")
            gone = visit.locator(HITS, has_text="take 18")
            assert "moved or removed" in gone.locator(".remark").inner_text()
            assert gone.get_by_role("button").count() == 0
            assert visit.locator(f"{HITS}[data-cut]").count() == 3
    finally:
        shutil.move(collection / "moved.wav", kept)


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_sticks_out_of_the_screen_or_of_its_card(browser, address, width):
    with visiting(browser, address, viewport={"width": width, "height": 800}) as visit:
        ask(visit, "band 1")
        assert visit.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert visit.evaluate(STICKING_OUT) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_the_light_and_in_the_dark(browser, address, scheme):
    with visiting(browser, address, color_scheme=scheme) as visit:
        ask(visit, "band 1\nband 5")
        texts = ("#title h1", "#title p", "#results .playing", "#results .hint", "#results .downloads a")
        for text in (*texts, "#results .recording", ".times small", ".facts .score", "#results .nothing"):
            contrast = visit.evaluate(CONTRAST, text)
            assert math.isfinite(contrast)
            assert contrast >= 4.5, text


def test_the_page_asks_nobody_but_its_own_server(visit, address):
    ask(visit, "band 1")
    visit.locator(HITS).first.click()
    visit.wait_for_function(f"{PLAYER}.currentTime > 0.1")
    assert [url for url in visit.asked if not url.startswith((address, "data:", "blob:"))] == []
