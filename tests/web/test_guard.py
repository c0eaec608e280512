"""What is refused before the page sees it."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("starlette", reason="needs the page: pip install '.[web]'")

from amr_model.web.guard import FORM_BYTES, Guard

ANSWERED = (200, "the page")
LINK = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}


async def the_page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


def ask(guard, method="GET", path="/", *, host="127.0.0.1:7860", **headers) -> tuple[int, str]:
    """Status and text of the answer to a request; `_` in a header's name stands for `-`."""
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"], sent[1]["body"].decode()


def make_guard(*, host: str = "127.0.0.1", allowed: tuple[str, ...] = ()) -> Guard:
    return Guard(the_page, host=host, allowed=allowed, max_upload_bytes=1000)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LocalHost", "[::1]:7860"])
def test_a_request_to_this_machine_is_answered(host):
    assert ask(make_guard(), host=host) == ANSWERED


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "10.0.0.7:7860", "", "[::1", "a@b"],
)
def test_a_name_that_somebody_made_resolve_to_this_machine_is_refused(host):
    status, text = ask(make_guard(), host=host)
    assert status == 403
    assert "--allow-host" in text
    assert len(text.splitlines()) == 1


def test_names_that_were_given_are_allowed_with_their_proxys_origin():
    guard = make_guard(host="10.0.0.7", allowed=("Sounds.example",))
    for host in ("10.0.0.7:7860", "sounds.example"):
        assert ask(guard, host=host) == ANSWERED
    # a proxy speaks https to the visitor, and may call this server as it likes
    for host in ("sounds.example", "127.0.0.1:7860"):
        assert ask(guard, "POST", host=host, origin="https://sounds.example") == ANSWERED


def test_a_server_for_every_address_answers_to_addresses_and_not_to_names():
    guard = make_guard(host="0.0.0.0")
    assert ask(guard, host="10.0.0.7:7860") == ANSWERED
    assert ask(guard, host="evil.example")[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://localhost:9999"},
        LINK,  # a form that is sent from elsewhere
    ],
)
def test_a_post_of_another_site_is_refused(headers):
    answer = ask(make_guard(), "POST", "/gradio_api/upload", **headers)
    assert answer == (403, "requests of other sites are refused\n")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:7860"},
        {"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin"},
    ],
)
def test_the_pages_own_posts_and_programs_are_let_through(headers):
    assert ask(make_guard(), "POST", "/gradio_api/upload", **headers) == ANSWERED


def test_another_site_may_link_to_the_page_but_not_embed_it_or_its_files():
    guard = make_guard()
    assert ask(guard, **LINK) == ANSWERED
    assert ask(guard, **{**LINK, "sec_fetch_dest": "iframe"})[0] == 403
    embedded = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "audio"}
    assert ask(guard, "GET", "/gradio_api/file=/x.wav", **embedded)[0] == 403


def test_an_upload_that_is_too_large_is_refused_before_it_is_read():
    def upload(size: int) -> tuple[int, str]:
        return ask(make_guard(), "POST", "/gradio_api/upload", content_length=str(size))

    assert upload(1000 + FORM_BYTES) == ANSWERED
    assert upload(1001 + FORM_BYTES) == (413, "the file is larger than 1e-06 GB (--max-upload)\n")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_is_sent_on_to_another_site(scheme):
    assert ask(make_guard(), "GET", f"/gradio_api/file={scheme}://evil.example/x")[0] == 404
