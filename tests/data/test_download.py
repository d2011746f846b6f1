"""Downloads from a local server that cuts, refuses, ignores and lies."""

import base64
import contextlib
import errno
import hashlib
import os
import ssl
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from minidl.cli.programs import MINIDL
from minidl.data import download, tiny_imagenet
from minidl.data.web import file_name, shown
from minidl.errors import DataError, UsageError
from minidl.storage.locks import lock

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content` at any path; `cuts` are the byte counts after which its answers break off, in turn."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.codes, self.ranges = CONTENT, [], [], True
        self.asked = []  # the Range header of each request
        self.paths, self.secrets = [], []  # its path and its Authorization header
        self.raw = {}  # path -> an answer to be sent as it is, or a function that writes it
        self.url = f"http://127.0.0.1:{self.server_port}/files/tiny.zip"

    def handle_error(self, request, client_address):
        """A client that has had enough is no error, and nothing to print."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        self.server.paths.append(self.path)
        self.server.secrets.append(self.headers.get("Authorization"))
        if self.path in self.server.raw:
            answer = self.server.raw[self.path]
            with contextlib.suppress(OSError):  # nobody listens any more
                answer(self.wfile.write) if callable(answer) else self.wfile.write(answer)
            return
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


def test_the_command_to_train_on_it_can_be_typed(server, tmp_path, capsys):
    assert MINIDL.main(["download", str(tmp_path / "my data"), "--url", server.url]) == 0
    assert capsys.readouterr().out.endswith(f"minidl train --data '{tmp_path / 'my data' / 'tiny.zip'}'\n")


def test_a_file_that_nothing_checks_is_not_called_complete(server, tmp_path, capsys):
    (tmp_path / "tiny.zip").write_bytes(CONTENT[:100])
    assert MINIDL.main(["download", str(tmp_path), "--url", server.url]) == 0
    assert "tiny.zip was there already, and nothing says whether it is complete" in capsys.readouterr().out


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_cut_connection_is_taken_up_where_it_broke(fetch, server, size):
    server.cuts = [300_000, 400_000]
    assert fetch(size=size).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=700000-"]


def test_the_next_start_continues_from_the_part(fetch, server, tmp_path):
    server.cuts = [250_000, 0, 0]
    with pytest.raises(DataError, match="start again to continue") as caught:
        fetch(retries=1)
    assert str(tmp_path / "tiny.zip.part") in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "tiny.zip.part").read_bytes() == CONTENT[:250_000]
    assert names(tmp_path) == ["tiny.zip.part"]
    assert fetch().read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=250000-"


def test_a_second_download_into_a_folder_waits_for_the_first(fetch, server, tmp_path, capsys):
    first = os.open(tmp_path, os.O_RDONLY)
    lock(first)

    def end():
        (tmp_path / "tiny.zip").write_bytes(CONTENT)
        os.close(first)

    threading.Timer(0.1, end).start()
    assert fetch().read_bytes() == CONTENT and server.asked == []
    assert f"another process is downloading into {tmp_path}: waiting" in capsys.readouterr().err


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

    monkeypatch.setattr("minidl.text.progress.Progress.add", fail)
    with pytest.raises(DataError, match="can't be written .No space left on device"):
        fetch()


def test_a_disk_without_room_is_seen_before_the_bytes_come(fetch, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DataError, match="1 MB are left to download, more than the disk holds"):
        fetch()


def test_progress_continues_from_the_part_in_plain_lines(fetch, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minidl.text.progress.LINE_EVERY", 0)
    (tmp_path / "tiny.zip.part").write_bytes(CONTENT[:600_000])
    fetch()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tiny.zip: 862kB of 1.00MB, ") and lines[0].endswith("left")
    assert lines[-1].startswith("tiny.zip: 1.00MB of 1.00MB, ")


SENT = "/files/tiny.zip"


def answer(head, body=b"", status="200 OK"):
    return f"HTTP/1.1 {status}\r\n{head}\r\n\r\n".encode("latin-1") + body


def forever(head):
    """Sends zeros until nobody listens, at most 64 MB."""

    def send(write):
        write(answer(head))
        for _ in range(64):
            write(bytes(1 << 20))
            sent.append(1 << 20)

    sent = []
    return send, sent


@pytest.mark.parametrize("head", ["Connection: close", "Content-Length: 999999999", "Content-Length: 1000001"])
def test_what_is_longer_than_it_should_be_is_stopped_there(fetch, server, tmp_path, head):
    server.raw[SENT], sent = forever(head)
    with pytest.raises(
        DataError, match="the server (announces [0-9,]* bytes, 1,000,000 expected|sends more than 1,000,000)"
    ):
        fetch()
    assert sum(sent) < 32 << 20
    assert [path.stat().st_size for path in tmp_path.iterdir()] in ([], [0])


def test_without_any_size_the_disk_is_watched(fetch, server, monkeypatch):
    server.raw[SENT], sent = forever("Connection: close")
    free = iter([1 << 40, 1 << 40, 1 << 20])
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": next(free)}))
    with pytest.raises(DataError, match="1 MB are free, and the size of the file isn't known"):
        fetch(size=None, md5=None)
    assert sum(sent) < 64 << 20


@pytest.mark.parametrize("length", ["-5", "abc", "", "9" * 30, "9" * 5000, "5, 5", "0x10", "1e3", "\u00b2"])
def test_a_length_that_is_none_is_refused(fetch, server, length):
    server.raw[SENT] = answer(f"Content-Length: {length}", b"hello")
    with pytest.raises(DataError, match="the server announces '.*' bytes; try another --url"):
        fetch(size=None, md5=None)


RANGES = ["bytes 5-4/1", "bytes 4-9/10", "bytes 5-9/9", "bytes -5-9/10", "bytes 5-9", "5-9/10", "", "bytes */10"]


@pytest.mark.parametrize("span", RANGES)
def test_a_part_that_was_not_asked_for_is_refused(fetch, server, tmp_path, span):
    (tmp_path / "tiny.zip.part").write_bytes(b"hello")
    server.raw[SENT] = answer(f"Content-Range: {span}\r\nContent-Length: 5", b"EVIL!", "206 Partial Content")
    with pytest.raises(DataError, match="the server sends a different part than was asked for"):
        fetch(size=None, md5=None)
    assert (tmp_path / "tiny.zip.part").read_bytes() == b"hello"


def test_a_part_that_was_not_asked_for_is_refused_too(fetch, server):
    server.raw[SENT] = answer("Content-Range: bytes 5-9/10\r\nContent-Length: 5", b"EVIL!", "206 Partial Content")
    with pytest.raises(DataError, match="a different part than was asked for"):
        fetch()


BROKEN = {
    "a chunk of -5 bytes": answer("Transfer-Encoding: chunked", b"-5\r\n" + bytes(1000)),
    "a chunk of petabytes": answer("Transfer-Encoding: chunked", b"FFFFFFFFFFFFFFFF\r\nhello"),
    "a chunk of no number": answer("Transfer-Encoding: chunked", b"ZZZ\r\nhello\r\n"),
    "rubbish": b"\x00\x1b\xff\xfe" * 100,
    "headers without end": answer("X: y\r\n" * 5000),
    "a status of a megabyte": answer("", status="200 " + "a" * 1_000_000),
    "a reason that steers the terminal": answer("", status="404 \x1b]0;owned\x07\x1b[31mtype your password"),
    "a circle": answer(f"Location: {SENT}", status="302 Found"),
    "a file": answer("Location: file:///etc/passwd", status="302 Found"),
    "no address": answer("Location: http://", status="302 Found"),
    "an address in brackets": answer("Location: http://[::1/x", status="302 Found"),
    "a port that is none": answer("Location: http://host:port/x", status="302 Found"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_every_answer_of_a_server_ends_in_one_printable_line(fetch, server, case):
    server.raw[SENT] = BROKEN[case]
    with pytest.raises(DataError) as caught:
        fetch(retries=1)
    assert server.url in str(caught.value) and str(caught.value).isprintable() and len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "place", ["ftp://127.0.0.1:{port}/x", "file:///etc/passwd", "data:,x", "gopher://127.0.0.1/"]
)
def test_only_http_is_followed(fetch, server, place):
    server.raw[SENT] = answer(f"Location: {place.format(port=server.server_port)}", status="302 Found")
    with pytest.raises(DataError):
        fetch(retries=0)
    assert server.paths == [SENT]


def test_another_address_is_followed(fetch, server):
    server.raw[SENT] = answer("Location: /elsewhere/other.zip", status="302 Found")
    assert fetch().name == "tiny.zip" and fetch().read_bytes() == CONTENT


def test_what_was_asked_over_https_is_not_fetched_over_http(server):
    from minidl.data.web import _Redirects

    request = urllib.request.Request("https://user-of-tls.org/a.zip")
    with pytest.raises(DataError, match="https://user-of-tls.org/a.zip: redirects to http://host/a.zip, which isn't"):
        _Redirects().redirect_request(request, None, 302, "Found", {}, "http://host/a.zip")
    assert _Redirects().redirect_request(request, None, 302, "Found", {}, "https://host/a.zip").host == "host"


def test_a_password_goes_to_its_server_and_into_no_message(fetch, server):
    secret = server.url.replace("//", "//me:pass%40word@")
    server.raw[SENT] = answer(f"Location: http://localhost:{server.server_port}/elsewhere", status="302 Found")
    assert fetch(url=secret).read_bytes() == CONTENT
    basic = "Basic " + base64.b64encode(b"me:pass@word").decode()
    assert server.secrets == [basic, None]


ADDRESSES = {
    "https://me:secret@host/a.zip": "https://host/a.zip",
    "http://secret@host:80/a.zip": "http://host:80/a.zip",
    "http://me:se/cret@host/a.zip": "http://host/a.zip",
    "http://me:se@cret@host/a.zip": "http://host/a.zip",
    "me:secret@host/a.zip": "host/a.zip",
    "ftp://me:secret@host/a.zip": "ftp://host/a.zip",
    "https://host/a.zip?key=secret&b=c": "https://host/a.zip?...",
    "https://host/@scope/a.zip": "https://host/@scope/a.zip",
    "https://host/a\x1b[31m\n.zip": "https://host/a\\x1b[31m\\n.zip",
}


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_are_shown_without_secrets_in_one_line(url):
    assert shown(url) == ADDRESSES[url]


@pytest.mark.parametrize(
    "url", ["http://me:secret@127.0.0.1:9/a.zip", "http://me:secret@/a.zip", "me:secret@host/a.zip"]
)
def test_no_error_shows_a_password(tmp_path, url):
    with pytest.raises((DataError, UsageError)) as caught:
        download(url, tmp_path, retries=0)
    assert "secret" not in str(caught.value)


NAMES = [
    "%00a.zip",
    "..",
    "%2e%2e",
    ".bashrc",
    "..%2f",
    "a%0a.zip",
    "a%1b.zip",
    "n" * 300,
    "%5c..%5c.x",
    "\u202egpj.zip",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_file_should_have_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="can't download"):
        download(f"http://127.0.0.1:9/{name}", tmp_path)
    assert names(tmp_path) == []


def test_folders_in_a_name_are_left_out():
    assert file_name("http://host/..%2f..%2fetc%5cx.zip?y=/z#/w") == "x.zip"


@pytest.mark.parametrize("plant", ["link", "dead link", "hard link", "pipe", "folder"])
def test_what_is_planted_in_the_place_of_the_part_is_not_written_to(fetch, server, tmp_path, plant):
    victim, part = tmp_path / "victim.txt", tmp_path / "tiny.zip.part"
    if plant != "dead link":
        victim.write_text("mine")
    {
        "link": lambda: part.symlink_to(victim),
        "dead link": lambda: part.symlink_to(victim),
        "hard link": lambda: os.link(victim, part),
        "pipe": lambda: os.mkfifo(part),
        "folder": part.mkdir,
    }[plant]()
    with pytest.raises(DataError, match="tiny.zip.part: a link, or no file at all: remove it"):
        fetch()
    assert victim.read_text() == "mine" if victim.exists() else plant == "dead link"


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(fetch, tmp_path):
    os.mkfifo(tmp_path / "tiny.zip")
    with pytest.raises(DataError, match="tiny.zip: not a file; it was there already: remove it"):
        fetch(size=None)


def test_a_dead_link_in_the_place_of_the_file_is_replaced_and_not_followed(fetch, tmp_path):
    (tmp_path / "tiny.zip").symlink_to(tmp_path / "victim")
    assert fetch().read_bytes() == CONTENT
    assert not (tmp_path / "tiny.zip").is_symlink() and not (tmp_path / "victim").exists()


def test_checksums_may_be_in_capitals_and_between_spaces(fetch):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert fetch(md5=f" {MD5.upper()}\n", sha256=sha256.upper()).read_bytes() == CONTENT


def test_a_wrong_sha256_removes_what_came_though_the_md5_is_right(fetch, tmp_path):
    with pytest.raises(DataError, match=f"its sha256 is [0-9a-f]*, {'0' * 64} expected"):
        fetch(sha256="0" * 64)
    assert names(tmp_path) == []


@pytest.mark.parametrize("sums", [{"md5": "abc"}, {"md5": "g" * 32}, {"sha256": MD5}, {"sha256": ""}])
def test_a_checksum_that_is_none_is_refused_before_anything_is_asked(fetch, server, sums):
    with pytest.raises(UsageError, match="it has (32|64) digits"):
        fetch(**sums)
    assert server.asked == []


def test_of_two_addresses_the_second_serves_where_the_first_does_not(fetch, server, capsys):
    server.raw["/no/tiny.zip"] = answer("Content-Length: 0", status="404 Not Found")
    first = server.url.replace("files", "no")
    for dead in (first, "http://127.0.0.1:9/tiny.zip"):
        path = fetch(url=[dead, server.url])
        assert path.read_bytes() == CONTENT
        path.unlink()
        assert f"{dead}: " in (said := capsys.readouterr().err) and f"trying {server.url}" in said


def test_a_server_that_lies_is_not_helped_by_a_second_address(fetch, server):
    server.raw["/no/tiny.zip"] = answer("Content-Length: 2000000")
    with pytest.raises(DataError, match="announces 2,000,000 bytes"):
        fetch(url=[server.url.replace("files", "no"), server.url])
    assert len(server.asked) == 1


def test_a_server_without_a_valid_certificate_is_not_asked_twice(fetch, monkeypatch):
    asked = []

    def refuse(*args):
        asked.append(args)
        raise urllib.error.URLError(ssl.SSLCertVerificationError("certificate verify failed"))

    monkeypatch.setattr(sys.modules["minidl.data.download"], "ask", refuse)  # `download` is a function
    with pytest.raises(DataError, match="certificate verify failed"):
        fetch()
    assert len(asked) == 1


def test_tiny_imagenet_comes_over_https_first_and_is_known_by_its_sha256():
    assert tiny_imagenet.URL == "https://cs231n.stanford.edu/tiny-imagenet-200.zip"
    assert tiny_imagenet.PLAIN_URL == "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    assert len(bytes.fromhex(tiny_imagenet.SHA256)) == 32 and tiny_imagenet.SIZE == 248_100_043


def test_files_of_one_name_from_two_addresses_are_not_joined(fetch, server, tmp_path):
    server.cuts = [400, 0]
    with pytest.raises(DataError):
        fetch(md5=None, size=None, retries=0)
    server.content, other = bytes(2000), server.url.replace("/files/", "/others/")
    assert download(other, tmp_path, progress=False).read_bytes() == bytes(2000)
