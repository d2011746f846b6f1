"""Requests to a web server that may not be honest: what is asked, which redirects and answers are accepted."""

from __future__ import annotations

import base64
import http.client
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from minidl.errors import DataError, UsageError, printable

BLOCK = 1 << 18  # bytes read at a time
SCHEMES = ("http", "https")
_NUMBER = "[0-9]{1,15}"


def file_name(url: str) -> str:
    """The name of the file at `url`. Raises UsageError if that isn't http(s), or isn't a valid name."""
    try:
        parts = urllib.parse.urlsplit(url)
        name = urllib.parse.unquote(parts.path).replace("\\", "/").rpartition("/")[2]
        known = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0  # `port` raises ValueError
    except ValueError:
        known = False
    if not known or not name or name.startswith(".") or not name.isprintable() or len(name.encode()) > 200:
        raise UsageError(f"can't download {shown(url)!r}: give an address such as http://host/file.zip")
    return name


def shown(url: str) -> str:
    """`url` in one printable line, without user, password and query, which may be secrets."""
    text, mark, _ = url.partition("?")
    try:
        urllib.parse.urlsplit(text).port  # noqa: B018 (raises where a password has a slash in it)
        text = re.sub(r"^(\w+://)?[^/]*@", r"\1", text)
    except ValueError:
        text = re.sub(r"^(\w+://)?.*@", r"\1", text)
    return printable(text + "?..." * bool(mark))


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in SCHEMES or (req.type == "https" and scheme != "https"):
            raise DataError(
                f"{shown(req.full_url)}: redirects to {shown(newurl)}, which isn't encrypted; try another --url"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def ask(url: str, start: int, timeout: float) -> http.client.HTTPResponse:
    """The server's answer to a request for `url` from byte `start` on. Raises the exceptions of urllib.

    Only http and https are used. A user and password in `url` are sent to that server and to no other.
    """
    parts = urllib.parse.urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host, fragment="")))
    if start:
        request.add_header("Range", f"bytes={start}-")
    if user:
        secret = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener.open(request, timeout=timeout)


def announced(answer: http.client.HTTPResponse, url: str, start: int) -> tuple[int, int | None]:
    """(first, total): the first byte of the answer to a request from `start`, and the size of the whole file.

    The size is None if the server doesn't give it. Raises DataError for a part that wasn't asked for.
    """
    said = answer.headers.get("Content-Length")
    if said is not None and not re.fullmatch(_NUMBER, said.strip()):
        raise DataError(f"{shown(url)}: the server announces {printable(said[:40])!r} bytes; try another --url")
    length = None if said is None else int(said)
    if answer.status != 206:
        return 0, length  # the whole file, though only a part was asked for
    text = answer.headers.get("Content-Range", "").strip()
    span = re.fullmatch(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER}|\*)", text)
    first, last = (int(span[1]), int(span[2])) if span else (-1, -1)
    total = int(span[3]) if span and span[3] != "*" else None
    if first != start or last < first or (total is not None and last >= total):
        raise DataError(f"{shown(url)}: the server sends a different part than was asked for; try another --url")
    return first, total if total is not None or length is None else first + length


def blocks(answer: http.client.HTTPResponse) -> Iterator[memoryview]:
    """The content of `answer`, piece by piece. Each piece is overwritten by the next."""
    block = memoryview(bytearray(BLOCK))
    try:
        while count := answer.readinto(block):  # read() takes all that comes if a chunk's length is negative
            yield block[:count]
    except OSError as error:  # told apart from what the disk does
        raise ConnectionError(error.strerror or str(error)) from error
