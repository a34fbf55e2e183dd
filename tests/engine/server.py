"""A server of files on 127.0.0.1 that can be told to fail: what a download must survive."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site(ThreadingHTTPServer):
    """`files` by address; `cuts` are bytes after which the next replies of an address end; `asked` is what was asked,
    with the Range; `tags` are checksums that are stated; `ranges` says whether a Range is honoured. `busy` are statuses
    with headers that an address answers first; `token` is wanted and `refused` is not, `tokens` are what came; `stalls`
    are seconds before the next replies of an address; `shifts` are bytes by which a part begins too late."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}
        self.tags: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.ranges = True
        self.busy: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self.token: str | None = None
        self.refused: str | None = None
        self.tokens: list[str | None] = []
        self.stalls: dict[str, list[float]] = {}
        self.shifts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self):
        site, path, asked = self.server, self.path.lstrip("/"), self.headers.get("Range")
        site.asked.append((path, asked))
        sent = self.headers.get("Authorization")
        site.tokens.append(sent)
        if site.busy.get(path):
            status, headers = site.busy[path].pop(0)
            return self.reply(status, b"", headers)
        hub = self.headers["Host"].startswith("127.")
        if hub and ((site.token and sent != f"Bearer {site.token}") or (site.refused and sent == site.refused)):
            return self.reply(401, b"")
        time.sleep((site.stalls.get(path) or [0.0]).pop(0))
        body = site.files.get(path)
        if body is None:
            return self.reply(404, b"")
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and site.ranges else 0
        if start >= len(body) > 0:
            return self.reply(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        start += site.shifts if start else 0
        extra = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        extra |= {"X-Linked-ETag": f'"{site.tags[path]}"'} if path in site.tags else {}
        extra |= {"Content-Type": site.types.get(path, "application/octet-stream")}
        return self.reply(206 if start else 200, body[start:], extra, cut=(site.cuts.get(path) or [None]).pop(0))

    def reply(self, status: int, body: bytes, extra: dict[str, str] | None = None, cut: int | None = None):
        self.send_response(status)
        for name, value in {**(extra or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut is not None

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    site = Site()
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()
        thread.join()
