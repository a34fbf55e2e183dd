"""Pages over HTTP, for browsers of this machine: read-only, and nothing but the pages' own files.

/             the only page, or a list of them
/<n>/<file>   a file of page n: index.html, page.css, page.js, models.js, model-viewer.js, table.csv, jobs.csv,
              turntables/*.webp, meshes/*.glb, meshes/*.js
"""

from __future__ import annotations

import html
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from errors import UserError

FORMS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "webp": "image/webp",
    "glb": "model/gltf-binary",
}
FILE = re.compile(
    r"index\.html|page\.css|page\.js|models\.js|model-viewer\.js|table\.csv|jobs\.csv|(turntables/[0-9a-f]+\.webp)|(meshes/[0-9a-f]+\.(glb|js))"
)
ADDRESS = re.compile(r"/(\d{1,6})/(.*)", re.ASCII)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src blob:; base-uri 'none'"
)


def pages(results: Path) -> list[tuple[str, Path]]:
    """The pages in a folder of runs, in a run, or the one that the folder is, each with its name. Raises UserError
    where there are none."""
    if not results.is_dir():
        raise UserError(f"There is no folder {results} to serve.")
    root = results.resolve()
    found = [folder for folder in (root, *sorted(root.glob("*")), *sorted(root.glob("*/page"))) if _is_page(folder)]
    inside = [folder for folder in found if folder.resolve().is_relative_to(root)]
    if not inside:
        raise UserError(f"There is no page in {results}: run_benchmark.py report RUN makes one.")
    return [((folder.parent if folder.name == "page" else folder).name, folder) for folder in inside]


def _is_page(folder: Path) -> bool:
    return (folder / "index.html").is_file() and (folder / "turntables").is_dir()


def server(of: list[tuple[str, Path]], host: str, port: int) -> ThreadingHTTPServer:
    """A server that listens, and answers once it is told to. Raises OSError where it cannot."""

    class Handler(Pages):
        served = of

    return Server((host, port), Handler)


class Server(ThreadingHTTPServer):
    """A browser that hangs up, as it does when its reader goes on, is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Pages(BaseHTTPRequestHandler):
    """Answers GET and HEAD; every other method is refused by the base."""

    served: list[tuple[str, Path]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        path = urlsplit(self.path).path
        if path == "/" and len(self.served) > 1:
            self._send(self._list().encode(), FORMS["html"], body)
        elif path == "/":
            self._moved("/0/")
        elif (file := self._file(path)) is not None:
            self._send(file.read_bytes(), FORMS[file.suffix[1:]], body)
        else:
            self.send_error(404)

    def _file(self, path: str) -> Path | None:
        """The file at an address; None for all that is not a page's own: the name is one of a list before the disk is
        asked, and a link that leads out of the page is not followed."""
        at = ADDRESS.fullmatch(path)
        name = (at[2] or "index.html") if at else ""
        if at is None or int(at[1]) >= len(self.served) or not FILE.fullmatch(name):
            return None
        folder = self.served[int(at[1])][1].resolve()
        file = (folder / name).resolve()
        return file if file.is_file() and file.is_relative_to(folder) else None

    def _list(self) -> str:
        links = "".join(f'<li><a href="/{k}/">{html.escape(name)}</a></li>' for k, (name, _) in enumerate(self.served))
        head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        return f"{head}<title>Runs</title><h1>Runs</h1><ul>{links}</ul></html>"

    def _moved(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, form: str, body: bool) -> None:
        self.send_response(200)
        headers = {"Content-Type": form, "Content-Length": str(len(content)), "Content-Security-Policy": POLICY,
                   "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line a picture helps nobody."""
