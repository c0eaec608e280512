"""A hub and an archive on this machine, for tests: they speak what huggingface_hub and pooch ask for.

`Host.files` maps paths to contents; `Host.cut` says after how many bytes the
connection breaks, the next times that a longer answer is sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Host:
    """What is to be had, what was asked for, and how the next answers go wrong."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}  # OWNER/REPOSITORY/FILE, or RECORD/FILE of the archive
        self.asked: list[str] = []
        self.cut: list[int] = []
        self.announced: dict[str, str] = {}  # other checksums than the content's
        self.address = ""


def _checksum(host: Host, name: str, kind: str) -> str:
    return host.announced.get(name) or hashlib.new(kind, host.files[name]).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    host: ClassVar[Host]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Tests print what they want to say."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.host.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        path = self.path.split("?")[0].strip("/")
        if match := re.fullmatch(r"([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._hub(*match.groups(), body=body)
        elif match := re.fullmatch(r"api/records/(\d+)", path):
            self._record(match[1])
        elif match := re.fullmatch(r"files/(.+)", path):
            self._send(self.host.files[match[1]], {}, body=body)
        else:
            self._refuse("EntryNotFound")

    def _hub(self, repository: str, revision: str, file: str, *, body: bool) -> None:
        name = f"{repository}/{file}"
        if not any(known.startswith(f"{repository}/") for known in self.host.files):
            self._refuse("RepoNotFound")
        elif revision not in ("main", "v1", COMMIT):
            self._refuse("RevisionNotFound")
        elif name not in self.host.files:
            self._refuse("EntryNotFound")
        else:
            digest = _checksum(self.host, name, "sha256")
            self._send(
                self.host.files[name],
                {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"', "X-Linked-Etag": f'"{digest}"',
                 "X-Linked-Size": str(len(self.host.files[name])), "Accept-Ranges": "bytes"},
                body=body,
            )  # fmt: skip

    def _record(self, number: str) -> None:
        files = [
            {
                "key": name.partition("/")[2],
                "checksum": f"md5:{_checksum(self.host, name, 'md5')}",
                "links": {"self": f"{self.host.address}/files/{name}"},
            }
            for name in self.host.files
            if name.startswith(f"{number}/")
        ]
        if not files:
            self._refuse("NoRecord")
            return
        self._send(json.dumps({"id": number, "files": files}).encode(), {}, body=True)

    def _send(self, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(match[1]), int(match[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            content = content[start : end + 1]
        self.send_response(206 if match else 200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body and len(content) > (self.host.cut or [len(content)])[0]:
            self.wfile.write(content[: self.host.cut.pop(0)])
            self.close_connection = True
        elif body:
            self.wfile.write(content)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"{}")


@contextlib.contextmanager
def standing_in() -> Iterator[Host]:
    """A server on a free port of this machine, for as long as the block lasts."""
    host = Host()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"host": host}))
    server.daemon_threads = True
    host.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
