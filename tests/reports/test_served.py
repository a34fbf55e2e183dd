"""Pages over HTTP: what is a page's is given, and nothing else, by whatever address."""

import http.client
import os
import socket
import struct
import threading

import pytest

import run_benchmark
from errors import UserError
from reports.page import served


def page_in(folder, text="a page"):
    (folder / "turntables").mkdir(parents=True)
    (folder / "index.html").write_text(text)
    (folder / "turntables" / "0a.webp").write_bytes(b"picture")
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two runs with pages, in a folder beside a secret, which links in the second page lead to."""
    root = tmp_path_factory.mktemp("served")
    (root / "secret.csv").write_text("secret")
    first = page_in(root / "results" / "<b>a" / "page", "the first")
    (first.parent / "scene.safetensors").write_text("secret")
    (first / "notes.html").write_text("secret")
    second = page_in(root / "results" / "b" / "page", "the second")
    os.symlink(root / "secret.csv", second / "jobs.csv")
    os.symlink(root, second / "meshes")
    (root / "0b.glb").write_text("secret")
    return root / "results"


@pytest.fixture(scope="module")
def get(results):
    server = served.server(served.pages(results), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def asked(path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), dict(answer.getheaders())

    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_pages_are_listed_and_given(get):
    status, text, _ = get("/")
    assert status == 200
    assert "&lt;b&gt;a" in text
    assert "<b>" not in text
    assert get("/0/")[:2] == (200, "the first")
    assert get("/1/index.html?a=b")[:2] == (200, "the second")
    status, text, headers = get("/0/turntables/0a.webp")
    assert (status, text, headers["Content-Type"]) == (200, "picture", "image/webp")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert get("/0/", "HEAD")[:2] == (200, "")


@pytest.mark.parametrize(
    "path",
    [
        "/0/../scene.safetensors", "/0/../../../secret.csv", "/0/..%2f..%2f..%2fsecret.csv",
        "/0/%2e%2e/scene.safetensors",
        "/0//etc/passwd", "//etc/passwd", "/0/turntables/../../scene.safetensors", "/0/turntables/..\\..\\secret.csv",
        "/0/notes.html", "/1/jobs.csv", "/1/meshes/0b.glb", "/2/", "/-1/", "/0/turntables/", "/0/index.html%00.csv",
        "/0/index.html/", "/9999999999/", "/%d9%a0/", "/0",
    ],
)  # fmt: skip
def test_nothing_else_can_be_read(get, path):
    status, text, _ = get(path)
    assert status == 404
    assert "secret" not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(get, method):
    assert get("/0/index.html", method)[0] == 501


def test_a_page_that_a_link_brings_in_is_not_served(results, tmp_path):
    page_in(tmp_path / "elsewhere")
    (tmp_path / "runs").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "runs" / "page")
    with pytest.raises(UserError, match="There is no page"):
        served.pages(tmp_path / "runs")
    assert len(served.pages(results)) == 2
    assert len(served.pages(results / "b")) == 1
    assert len(served.pages(results / "b" / "page")) == 1


@pytest.mark.parametrize("arguments", [["gone"], ["."], [".", "--port", "99999999"]])
def test_what_cannot_be_served_is_one_sentence(arguments, results, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(results if "--port" in arguments else tmp_path)
    assert run_benchmark.main(["serve", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_browser_that_hangs_up_costs_no_line(results, capsys):
    with served.server(served.pages(results), "127.0.0.1", 0) as server:
        gone = socket.create_connection(server.server_address)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not ended
        gone.close()
        server.handle_request()
    assert capsys.readouterr().err == ""  # closed: its threads have ended
