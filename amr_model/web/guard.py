"""What the server refuses before the page sees it: strange hosts, other sites' requests, uploads too large.

There is no password. A page on the web that its visitor's browser opens must not be able to use the server
in the visitor's name: not by a name of its own that resolves to this machine (DNS rebinding: the Host header
gives it away), and not by sending forms or scripts here (fetch metadata and Origin give those away; the rule
is the resource isolation policy of web.dev/articles/fetch-metadata).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERY_ADDRESS = ("0.0.0.0", "::")
READING = ("GET", "HEAD", "OPTIONS")
FORM_BYTES = 1 << 20  # of a multipart form around a file

Refusal = tuple[int, str]  # status and what is wrong


class Guard:
    """ASGI middleware that answers what is refused with one line of text.

    Args:
        host: where the server listens; requests may call it so.
        allowed: other names by which requests may call the server, such as a proxy's.
        max_upload_bytes: of one file.
    """

    def __init__(self, app: ASGIApp, *, host: str, allowed: Iterable[str], max_upload_bytes: int) -> None:
        self._app = app
        self._proxies = frozenset(name.lower().strip("[]") for name in allowed)
        self._names = {*LOOPBACK, host.lower().strip("[]"), *self._proxies}
        self._any_address = host in EVERY_ADDRESS
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refusal = self._host(headers) or self._site(scope, headers) or self._content(scope, headers)
            if refusal is not None:
                status, problem = refusal
                # the body is not read: the connection cannot be used again
                response = PlainTextResponse(f"{problem}\n", status, headers={"connection": "close"})
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _host(self, headers: Headers) -> Refusal | None:
        name = _host_name(headers.get("host", ""))
        # an address in digits is nobody's name: it cannot be made to resolve to another machine
        if name in self._names or (self._any_address and _is_address(name)):
            return None
        return 403, f"this server is not called {name or 'so'!r}; start it with --allow-host to let it be"

    def _site(self, scope: Scope, headers: Headers) -> Refusal | None:
        """Another site's page may link here, and nothing else."""
        refusal = 403, "requests of other sites are refused"
        mode, target = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            is_link = scope["method"] == "GET" and mode == "navigate" and target == "document"
            return None if is_link else refusal
        origin = headers.get("origin")
        if origin is None or scope["method"] in READING:
            return None
        ours = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
        return None if ours or _host_name(urlsplit(origin).netloc) in self._proxies else refusal

    def _content(self, scope: Scope, headers: Headers) -> Refusal | None:
        path = scope["path"]
        if "/file=http:" in path or "/file=https:" in path:
            return 404, "no such file"  # it would send the visitor to another site
        length = headers.get("content-length", "")
        size = int(length) if length.isdigit() else 0
        if path.endswith("/upload") and size > self._max_upload_bytes + FORM_BYTES:
            return 413, f"the file is larger than {self._max_upload_bytes / 1e9:g} GB (--max-upload)"
        return None


def _host_name(netloc: str) -> str:
    """The name in a Host header or an origin, without a port; empty if there is none."""
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
