import hashlib
import socket

import pytest

from engine.weights.download import Unavailable, download, part_of
from errors import UserError
from tests.engine.server import serving

BODY = bytes(range(256)) * 9000
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site():
    with serving() as made:
        made.files["file.bin"] = BODY
        yield made


def parts(folder):
    return sorted(f.name for f in folder.glob("*.part"))


def test_a_file_arrives_whole_and_progress_is_told(site, tmp_path):
    heard = []
    file = tmp_path / "deep" / "file.bin"
    assert download(f"{site.url}/file.bin", file, SHA, lambda *news: heard.append(news)) == SHA
    assert file.read_bytes() == BODY
    assert heard[0] == (0, len(BODY))
    assert heard[-1] == (len(BODY), len(BODY))
    assert len(heard) > 3
    assert parts(file.parent) == []


def test_a_part_is_gone_on_with(site, tmp_path):
    url, file = f"{site.url}/file.bin", tmp_path / "file.bin"
    part_of(file, url).write_bytes(BODY[:1000])
    assert download(url, file, SHA) == SHA
    assert file.read_bytes() == BODY
    assert site.asked == [("file.bin", "bytes=1000-")]


def test_a_part_is_begun_again_where_the_server_cannot_go_on(site, tmp_path):
    url, file = f"{site.url}/file.bin", tmp_path / "file.bin"
    site.ranges = False
    part_of(file, url).write_bytes(BODY[:1000])
    assert download(url, file, SHA) == SHA
    assert file.read_bytes() == BODY


@pytest.mark.parametrize("extra", [b"", b"more"], ids=["whole", "too long"])
def test_a_part_that_is_whole_or_too_long(site, tmp_path, extra):
    url, file = f"{site.url}/file.bin", tmp_path / "file.bin"
    part_of(file, url).write_bytes(BODY + extra)
    assert download(url, file, SHA, pause=0) == SHA
    assert file.read_bytes() == BODY
    assert site.asked == [("file.bin", f"bytes={len(BODY + extra)}-"), *([("file.bin", None)] if extra else [])]


def test_cut_replies_are_gone_on_with_as_long_as_bytes_come(site, tmp_path):
    site.cuts["file.bin"] = [1_100_000, 70_000, 100_000, 0, 0, 300_000]
    file = tmp_path / "file.bin"
    assert download(f"{site.url}/file.bin", file, SHA, pause=0) == SHA
    assert file.read_bytes() == BODY
    starts = [0 if asked is None else int(asked[6:-1]) for _, asked in site.asked]
    assert len(starts) == 7
    assert starts == sorted(starts)


def test_what_has_come_is_kept_where_nothing_more_comes(site, tmp_path):
    url, file = f"{site.url}/file.bin", tmp_path / "file.bin"
    site.cuts["file.bin"] = [1_100_000, *[0] * 20]
    with pytest.raises(Unavailable, match="no connection"):
        download(url, file, SHA, pause=0)
    assert not file.exists()
    kept = part_of(file, url).read_bytes()
    assert 1_000_000 < len(kept) <= 1_100_000
    assert BODY.startswith(kept)
    assert len(site.asked) == 4


def test_a_wrong_checksum_leaves_nothing(site, tmp_path):
    site.files["file.bin"] = BODY[:-1] + b"!"
    with pytest.raises(Unavailable, match=f"wrong checksum: .* where {SHA[:12]} is expected"):
        download(f"{site.url}/file.bin", tmp_path / "file.bin", SHA)
    assert list(tmp_path.iterdir()) == []


def test_without_a_pin_the_checksum_that_the_server_states_counts(site, tmp_path):
    site.tags["file.bin"] = SHA
    assert download(f"{site.url}/file.bin", tmp_path / "file.bin", None) == SHA
    site.tags["file.bin"] = "0" * 64
    with pytest.raises(Unavailable, match="wrong checksum"):
        download(f"{site.url}/file.bin", tmp_path / "again.bin", None)
    site.tags["file.bin"] = "a tag of another kind"
    assert download(f"{site.url}/file.bin", tmp_path / "again.bin", None) == SHA


def test_not_found_a_web_page_and_nobody_there(site, tmp_path):
    file = tmp_path / "file.bin"
    with pytest.raises(Unavailable, match="status 404"):
        download(f"{site.url}/other.bin", file, None)
    site.types["file.bin"] = "text/html; charset=utf-8"
    with pytest.raises(Unavailable, match="a web page"):
        download(f"{site.url}/file.bin", file, None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="no connection"):
            download(f"http://127.0.0.1:{free.getsockname()[1]}/file.bin", file, None, pause=0)
    with pytest.raises(Unavailable, match="not an address"):
        download("ftp://127.0.0.1/file.bin", file, None)
    assert not file.exists()


def test_a_full_disk_is_one_sentence_and_keeps_what_has_come(site, tmp_path):
    url, file = f"{site.url}/file.bin", tmp_path / "file.bin"

    def full(come, _):
        if come:
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        download(url, file, SHA, full)
    assert part_of(file, url).exists()


def test_ctrl_c_loses_nothing(site, tmp_path):
    url, file = f"{site.url}/file.bin", tmp_path / "file.bin"

    def stop(come, _):
        if come > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(url, file, SHA, stop)
    kept = part_of(file, url).stat().st_size
    assert kept >= 1_000_000
    assert download(url, file, SHA) == SHA
    assert site.asked[-1] == ("file.bin", f"bytes={kept}-")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}, 0),
    ],
)
def test_a_server_that_is_busy_is_waited_for(site, tmp_path, monkeypatch, status, headers, seconds):
    waited, lines = [], []
    monkeypatch.setattr("engine.weights.download.time.sleep", waited.append)
    site.busy["file.bin"] = [(status, headers)] * 3
    assert download(f"{site.url}/file.bin", tmp_path / "file.bin", SHA, pause=0, told=lines.append) == SHA
    assert [w for w in waited if w] == [seconds] * 3 if seconds else not any(waited)
    assert f"status {status}, waiting {seconds} s" in lines[0]


def test_one_that_is_busy_for_too_long_is_left(site, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.weights.download.time.sleep", lambda _: None)
    site.busy["file.bin"] = [(429, {"Retry-After": "7200"})]
    with pytest.raises(Unavailable, match="status 429: it asks to wait 7200 s"):
        download(f"{site.url}/file.bin", tmp_path / "file.bin", SHA)
    site.busy["file.bin"] = [(503, {"Retry-After": "1"})] * 9
    with pytest.raises(Unavailable, match="status 503: it asks to wait 1 s"):
        download(f"{site.url}/file.bin", tmp_path / "file.bin", SHA)
    assert parts(tmp_path) == []


def test_a_stall_is_broken_off_and_gone_on_with(site, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.2")
    site.stalls["file.bin"] = [1.0]
    assert download(f"{site.url}/file.bin", tmp_path / "file.bin", SHA, pause=0) == SHA
    assert len(site.asked) == 2


def test_another_part_than_was_asked_for_is_not_added(site, tmp_path):
    url, file = f"{site.url}/file.bin", tmp_path / "file.bin"
    part_of(file, url).write_bytes(BODY[:1000])
    site.shifts = 256
    assert download(url, file, SHA, pause=0) == SHA
    assert file.read_bytes() == BODY


def test_a_range_that_is_never_right_ends(site, tmp_path):
    site.busy["file.bin"] = [(416, {})] * 9
    with pytest.raises(Unavailable, match="status 416, 4 times"):
        download(f"{site.url}/file.bin", tmp_path / "file.bin", SHA, pause=0)


@pytest.mark.parametrize(
    ("body", "what"),
    [(b"\n<!DOCTYPE html><p>", "a web page"), (b"", "nothing"), (b'{"a": ', "something that is no JSON")],
)
def test_without_a_checksum_a_body_that_cannot_be_the_file_is_not_kept(site, tmp_path, body, what):
    site.files["config.json"] = body
    with pytest.raises(Unavailable, match=f"{what} in place of the file"):
        download(f"{site.url}/config.json", tmp_path / "config.json", None)
    assert list(tmp_path.iterdir()) == []
