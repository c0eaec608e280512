"""Pages in a real browser: who visits them, and what is looked at there."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # a microphone that beeps, and permission to use it
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
PATIENCE_MS = 60_000  # a busy machine is no failure
MAX_UPLOAD_BYTES = 3_000_000
BEST = ".mark[data-rank='1']"
PLAYER = "document.querySelector('#results audio')"

# in the page: the contrast of an element's text with what lies behind it, as WCAG 2 defines it
CONTRAST = """(selector) => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const text = document.querySelector(selector);
  let behind = text, colour;
  do {
    colour = parse(getComputedStyle(behind).backgroundColor);
    behind = behind.parentElement;
  } while (behind && colour[3] === 0);
  const both = [light(colour), light(parse(getComputedStyle(text).color))].sort((a, b) => b - a);
  return (both[0] + .05) / (both[1] + .05);
}"""

# in the page: the names of elements that reach out of the window or of the card they lie in
STICKING_OUT = """() => [...document.querySelectorAll("#title *, #form, #results *, #colophon")]
  .filter(e => {
    const box = e.getBoundingClientRect(), card = e.closest("article, .player")?.getBoundingClientRect();
    return box.width && (box.right > (card ?? {right: innerWidth}).right + .5 || box.right > innerWidth);
  }).map(e => e.tagName + "." + e.className)"""


@contextlib.contextmanager
def driven_browser():
    """A Chromium; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs a driver: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs a browser: apt-get install chromium, or any Chromium or Chrome on PATH")
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(BROWSER_ARGUMENTS))
        yield chromium
        chromium.close()


@contextlib.contextmanager
def page_of(make_page, folder: Path) -> Iterator[str]:
    """The address of a page that is served until the block ends."""
    from amr_model.web.serving import serving

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"host": "127.0.0.1", "port": port, "folder": folder, "max_upload_bytes": MAX_UPLOAD_BYTES}
    with serving(make_page, **options):
        yield f"http://127.0.0.1:{port}/"


@contextlib.contextmanager
def visiting(browser, address, **looks):
    """A new visitor on the page, whose every request and failing script is remembered."""
    context = browser.new_context(**{"viewport": {"width": 1180, "height": 900}, **looks})
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
