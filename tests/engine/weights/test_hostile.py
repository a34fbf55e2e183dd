"""Forty servers, none of which does what it should: what `fetch` says of each, in a sentence, and that nothing wrong is
kept. `python -m tests.engine.weights.test_hostile` prints the table."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from safetensors.numpy import serialize

from engine.weights.download import Unavailable, download, part_of

BODY = json.dumps({"a": list(range(500))}).encode()
SHA = hashlib.sha256(BODY).hexdigest()
HTML = b"<!DOCTYPE html><html><p>Sign in to the network</p></html>"
TYPE = "Content-Type: application/octet-stream"
GOOD = "the file, whole"
SECONDS = 0.3  # for which a server may say nothing here, or drip


def reply(body: bytes, *headers: str, status: str = "200 OK", length: int | str | None = -1) -> bytes:
    """A reply whose length is the body's, unless it is said."""
    said = [] if length is None else [f"Content-Length: {len(body) if length == -1 else length}"]
    kind = [] if any(h.lower().startswith("content-type") for h in headers) else [TYPE]
    return "\r\n".join([f"HTTP/1.1 {status}", *kind, *headers, *said, "", ""]).encode() + body


def chunked(*chunks: bytes) -> bytes:
    parts = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    return reply(parts, "Transfer-Encoding: chunked", length=None)


def dripping() -> Iterable[bytes]:
    yield reply(b"", length=len(BODY))
    for k in range(100):
        time.sleep(0.02)
        yield BODY[k : k + 1]


def endless() -> Iterable[bytes]:
    yield reply(b"", length=None)
    while True:
        yield bytes(1 << 16)


def silent() -> Iterable[bytes]:
    yield reply(BODY[:1000], length=len(BODY))
    time.sleep(2 * SECONDS)


@dataclass
class Case:
    """What a server answers to each request (the last one again and again; a text in it is its own address), what is
    said at the end, and whether the file's checksum is known; `part`: what an earlier fetch has brought."""

    answers: list[bytes | Callable[[], Iterable[bytes]]]
    said: str
    expected: str | None = SHA
    part: bytes = b""
    name: str = "config.json"


def moved(to: str) -> bytes:
    return reply(
        b"", f"Location: {to}", "Connection: close", status="302 Found"
    )  # else it is asked for more, while it hangs up


def partial(first: int, *headers: str) -> bytes:
    return reply(BODY[first:], *headers, status="206 Partial Content")


NOTHING = r"no connection \(ConnectionError\)"
UNSAID = None  # no checksum is known
CASES = {
    "has it not": Case([reply(b"", status="404 Not Found")], "status 404"),
    "has it no more": Case([reply(b"", status="410 Gone")], "status 410"),
    "wants a token": Case([reply(b"", status="401 Unauthorized")], "status 401, it wants a token"),
    "forbids it": Case([reply(b"", status="403 Forbidden")], "status 403, it wants a token"),
    "for lawyers": Case([reply(b"", status="451 Unavailable")], "status 451"),
    "breaks always": Case([reply(b"", status="500 Oops")], "status 500, 4 times"),
    "breaks once": Case([reply(b"", status="502 Bad Gateway"), reply(BODY)], GOOD),
    "is busy without an end": Case([reply(b"", "Retry-After: 0", status="429 Busy")], "it asks to wait 0 s"),
    "is busy for a day": Case([reply(b"", "Retry-After: 86400", status="503 Busy")], "it asks to wait 86400 s"),
    "is busy, till when is no date": Case([reply(b"", "Retry-After: soon", status="503 Busy")], "status 503, 4 times"),
    "sends round in a circle": Case([moved("/again")], r"not an address to fetch from \(TooManyRedirects\)"),
    "sends to a file of this machine": Case([moved("file:///etc/passwd")], "not an address to fetch from"),
    "sends to where nobody is": Case([moved("http://127.0.0.1:9/x")], NOTHING),
    "sends to no address": Case([moved("http://[")], "not an address to fetch from"),
    "a web page": Case([reply(HTML, "Content-Type: text/html")], "a web page in place"),
    "a web page, in capitals": Case([reply(HTML, "Content-Type: Text/HTML; Charset=x")], "a web page in place"),
    "a web page that is called bytes": Case([reply(HTML)], "wrong checksum"),
    "the same, no checksum known": Case([reply(HTML)], "a web page in place", UNSAID),
    "the same, behind a byte order mark": Case([reply(b"\xef\xbb\xbf \n" + HTML)], "a web page in place", UNSAID),
    "nothing": Case([reply(b"")], "wrong checksum"),
    "nothing, no checksum known": Case([reply(b"")], "nothing in place", UNSAID),
    "other bytes of the right length": Case([reply(BODY[:-1] + b"!")], "wrong checksum"),
    "less, and says so": Case([reply(BODY[:-10])], "wrong checksum"),
    "less, no checksum known": Case([reply(BODY[:-10])], "something that is no JSON in place", UNSAID),
    "no tensors": Case([reply(b"\xff" * 99)], "no safetensors file in place", UNSAID, name="net.safetensors"),
    "cut tensors": Case([reply(serialize({})[:-1])], "no safetensors file in place", UNSAID, name="net.safetensors"),
    "hangs up before a word": Case([b""], NOTHING),
    "hangs up in its header": Case([b"HTTP/1.1 200 OK\r\nContent-Le"], "wrong checksum"),
    "hangs up in the file, always": Case([reply(b"", length=len(BODY))], NOTHING),
    "hangs up in the file, once": Case([reply(BODY[:700], length=len(BODY)), partial(700, "Content-Range: bytes 700-")],
                                       GOOD),
    "speaks no HTTP": Case([b"220 ready for mail\r\n"], NOTHING),
    "headers without an end": Case([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"], NOTHING),
    "a header of a megabyte": Case([reply(BODY, "X: " + "y" * (1 << 20))], NOTHING),
    "a length that is no number": Case([reply(BODY, length="many")], GOOD),
    "a length below nothing": Case([reply(BODY, length=-7)], GOOD),
    "no length": Case([reply(BODY, length=None)], GOOD),
    "chunks that are cut": Case([chunked(BODY[:500])], NOTHING),
    "chunks of no size": Case([reply(b"zz\r\nxx", "Transfer-Encoding: chunked", length=None)], NOTHING),
    "compressed, unasked": Case([reply(gzip.compress(BODY, 9, mtime=0), "Content-Encoding: gzip")], GOOD),
    "says compressed, and is not": Case([reply(BODY, "Content-Encoding: gzip")], "says that it is compressed"),
    "another part": Case([partial(5, "Content-Range: bytes 5-"), reply(BODY)], GOOD, part=BODY[:9]),
    "a part of which it does not say": Case([partial(9), reply(BODY)], GOOD, part=BODY[:9]),
    "no part of anything": Case([reply(b"", status="416 Range")], "status 416, 4 times"),
    "a body without an end": Case([endless], "longer than 1000000 bytes"),
    "a byte now and then": Case([dripping], "too slow: .* bytes a second"),
    "falls silent": Case([silent, reply(b"", status="404 Not Found")], "status 404"),
    "another checksum than its body's": Case([reply(BODY, f'X-Linked-ETag: "{"0" * 64}"')], "wrong checksum", UNSAID),
}  # fmt: skip


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, case, asked = True, True, Case([], ""), 0


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        answers, self.server.asked = self.server.case.answers, self.server.asked + 1
        answer = answers[min(self.server.asked, len(answers)) - 1]
        try:
            for block in [answer] if isinstance(answer, bytes) else answer():
                self.wfile.write(block)
                self.wfile.flush()
        except OSError:
            pass  # nobody listens any more


@contextmanager
def serving():
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def fetched(server: Server, case: Case, folder: Path) -> str:
    """What `fetch` says of a server, or that the file is there; nothing else may be left but a part of the file."""
    server.case, server.asked = case, 0
    url, file = f"http://127.0.0.1:{server.server_address[1]}/{case.name}", folder / case.name
    if case.part:
        part_of(file, url).write_bytes(case.part)
    try:
        download(url, file, case.expected, pause=0.0, most=1_000_000)
    except Unavailable as error:
        assert not file.exists()
        assert all(BODY.startswith(part.read_bytes()) for part in folder.iterdir())
        return str(error)
    assert [file] == list(folder.iterdir())
    assert file.read_bytes() == BODY
    return GOOD


@pytest.fixture(scope="module")
def server():
    with serving() as made:
        yield made


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", str(SECONDS))
    monkeypatch.setattr("engine.weights.download.DRIP", SECONDS)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_hostile_server_gets_a_sentence_and_leaves_nothing_wrong(server, tmp_path, hasty, case):
    said = fetched(server, case, tmp_path)
    assert re.search(case.said, said), said
    assert "\n" not in said


def test_they_are_forty():
    assert len(CASES) >= 40


if __name__ == "__main__":
    from reports.markdown import pipes

    rows = []
    with (
        serving() as server,
        patch("engine.weights.download.DRIP", SECONDS),
        patch.dict("os.environ", HF_HUB_DOWNLOAD_TIMEOUT=str(SECONDS)),
    ):
        for name, case in CASES.items():
            with tempfile.TemporaryDirectory() as folder:
                rows.append([name, "known" if case.expected else "not known", fetched(server, case, Path(folder))])
    print("\n".join(pipes(["A server that sends or does", "checksum", "what it gets"], rows)))
