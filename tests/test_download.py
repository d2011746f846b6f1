"""Downloads from a local server that cuts, refuses, ignores and lies."""

import errno
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from minidl.data import download
from minidl.errors import DataError, UsageError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content` at any path; `cuts` are the byte counts after which its answers break off, in turn."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.codes, self.ranges = CONTENT, [], [], True
        self.asked = []  # the Range header of each request
        self.url = f"http://127.0.0.1:{self.server_port}/files/tiny.zip"

    def handle_error(self, request, client_address):
        """A client that has had enough is no error, and nothing to print."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.codes:
            self.send_error(self.server.codes.pop(0))
            return
        start = int(asked[len("bytes=") : -1]) if asked and self.server.ranges else 0
        content = self.server.content[start:]
        if asked and self.server.ranges and not content:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(self.server.content) - 1}/{len(self.server.content)}"
            )
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.cuts.pop(0)] if self.server.cuts else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(server, tmp_path):
    def fetch(**options):
        settings = {"md5": MD5, "size": len(CONTENT), "pause": 0.001, "timeout": 5} | options
        return download(settings.pop("url", server.url), tmp_path, **settings)

    return fetch


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_under_its_own_name(fetch, tmp_path):
    assert fetch() == tmp_path / "tiny.zip"
    assert (tmp_path / "tiny.zip").read_bytes() == CONTENT
    assert names(tmp_path) == ["tiny.zip"]


def test_size_and_md5_may_be_unknown(fetch, server):
    assert fetch(md5=None, size=None).read_bytes() == CONTENT


def test_a_missing_folder_is_made(server, tmp_path):
    assert download(server.url, tmp_path / "a" / "b").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_cut_connection_is_taken_up_where_it_broke(fetch, server, size):
    server.cuts = [300_000, 400_000]
    assert fetch(size=size).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=700000-"]


def test_the_next_start_goes_on_from_the_part(fetch, server, tmp_path):
    server.cuts = [250_000, 0, 0]
    with pytest.raises(DataError, match="start again to go on") as caught:
        fetch(retries=1)
    assert str(tmp_path / "tiny.zip.part") in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "tiny.zip.part").read_bytes() == CONTENT[:250_000]
    assert names(tmp_path) == ["tiny.zip.part"]
    assert fetch().read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=250000-"


def test_a_server_that_ignores_ranges_sends_it_all_again(fetch, server):
    server.ranges, server.cuts = False, [300_000]
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]


@pytest.mark.parametrize("size", [len(CONTENT), None])
@pytest.mark.parametrize("extra", [0, 10])
def test_a_part_as_long_as_the_file_or_longer_is_no_trap(fetch, tmp_path, size, extra):
    (tmp_path / "tiny.zip.part").write_bytes(CONTENT + bytes(extra))
    assert fetch(size=size).read_bytes() == CONTENT


def test_a_file_that_is_there_is_verified_and_not_fetched_again(fetch, server, tmp_path):
    fetch()
    assert fetch() == tmp_path / "tiny.zip"
    assert len(server.asked) == 1


def test_a_wrong_file_that_is_there_is_named_and_kept(fetch, server, tmp_path):
    (tmp_path / "tiny.zip").write_bytes(b"half a download of a browser")
    with pytest.raises(DataError, match="28 bytes, 1,000,000 expected; it was there already: remove it"):
        fetch()
    assert names(tmp_path) == ["tiny.zip"] and server.asked == []


def test_a_wrong_checksum_removes_what_came(fetch, server, tmp_path):
    server.content = CONTENT[:-1] + b"x" if CONTENT[-1:] != b"x" else CONTENT[:-1] + b"y"
    with pytest.raises(DataError, match=f"its md5 is [0-9a-f]*, {MD5} expected; what .* sent was removed"):
        fetch()
    assert names(tmp_path) == []


def test_a_wrong_size_is_named(fetch, server, tmp_path):
    server.content = b"<html>Moved, sorry</html>"
    with pytest.raises(DataError, match="tiny.zip.part: 25 bytes, 1,000,000 expected; what .* sent was removed"):
        fetch()
    assert names(tmp_path) == []


def test_a_missing_page_fails_at_once(fetch, server):
    server.codes = [404]
    with pytest.raises(DataError, match="the server answers 404 Not Found; try another --url"):
        fetch()
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(fetch, server):
    server.codes = [503, 500]
    assert fetch().read_bytes() == CONTENT


def test_a_server_that_stays_busy_is_given_up(fetch, server):
    server.codes = [503] * 9
    with pytest.raises(DataError, match="503 Service Unavailable"):
        fetch(retries=2)
    assert len(server.asked) == 3


def test_no_server_ends_in_one_line(fetch, server):
    with pytest.raises(DataError) as caught:
        fetch(url="http://127.0.0.1:9/tiny.zip", retries=1)
    assert "http://127.0.0.1:9/tiny.zip" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "tiny.zip", "file:///tiny.zip", "ftp://host/tiny.zip", "http://host/", "http://"]
)
def test_an_address_that_is_not_http_is_refused(tmp_path, url):
    with pytest.raises(UsageError, match="can't download"):
        download(url, tmp_path)


def test_a_full_disk_ends_in_one_line(fetch, tmp_path, monkeypatch):
    def fail(self, amount):  # called after each write
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("minidl.progress.Progress.add", fail)
    with pytest.raises(DataError, match="can't be written .No space left on device"):
        fetch()


def test_a_disk_without_room_is_seen_before_the_bytes_come(fetch, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DataError, match="1 MB to come, the disk has not enough room"):
        fetch()


def test_progress_goes_on_from_the_part_in_plain_lines(fetch, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minidl.progress.LINE_EVERY", 0)
    (tmp_path / "tiny.zip.part").write_bytes(CONTENT[:600_000])
    fetch()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tiny.zip: 862kB of 1.00MB, ") and lines[0].endswith("left")
    assert lines[-1].startswith("tiny.zip: 1.00MB of 1.00MB, ")
