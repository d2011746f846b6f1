"""Downloads that survive cut connections: resumed where they stopped, verified, and only then given their name."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from minidl.errors import DataError, UsageError
from minidl.progress import Progress

BLOCK = 1 << 18  # bytes read at a time
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP answers worth another try


def download(
    url: str,
    folder: str | Path,
    *,
    md5: str | None = None,
    size: int | None = None,
    retries: int = 5,
    pause: float = 2.0,
    timeout: float = 60.0,
    progress: bool = True,
) -> Path:
    """The file at `url`, fetched into `folder` under its own name; returns its path.

    A file that is there already is verified and kept. Bytes gather in `<name>.part`, from which the next attempt or
    the next start goes on; the file gets its name when its size (bytes) and md5 are right.

    retries    attempts after the first one that follow without any progress
    pause      seconds before the first of them; doubled each time

    Raises UsageError for a URL that isn't http(s), and DataError when the server refuses, the connection stays
    broken, the disk is full, or the content is wrong (which removes it).
    """
    parts = urllib.parse.urlsplit(url)
    name = Path(urllib.parse.unquote(parts.path)).name
    if parts.scheme not in ("http", "https") or not parts.netloc or not name:
        raise UsageError(f"can't download {url!r}: give an address such as http://host/file.zip")
    target = Path(folder).expanduser() / name
    part = target.with_name(name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _verify(target, md5, size, "it was there already: remove it to download it")
            return target
        _fetch(url, part, size, retries, pause, timeout, progress)
        try:
            _verify(part, md5, size, f"what {url} sent was removed; try again, or give another --url")
        except DataError:
            part.unlink()
            raise
        with open(part, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise DataError(f"{target}: can't be written ({error.strerror or error})") from error
    return target


def _fetch(url: str, part: Path, size: int | None, retries: int, pause: float, timeout: float, show: bool) -> None:
    """Adds to `part` until it is complete, as far as the server or `size` can tell."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        if size is not None and before == size:
            return
        try:
            if _attempt(url, part, size, timeout, show):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # a .part that is longer than the file: start over
                part.unlink()
            elif error.code not in _PASSING:
                raise DataError(f"{url}: the server answers {error.code} {error.reason}; try another --url") from None
            reason = f"the server answers {error.code} {error.reason}"
        except urllib.error.URLError as error:
            reason = str(getattr(error.reason, "strerror", None) or error.reason)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
        advanced = part.exists() and part.stat().st_size > before
        failures = 0 if advanced else failures + 1
        if failures > retries:
            raise DataError(f"{url}: {reason}; what has come is kept in {part}, start again to go on")
        time.sleep(pause * 2 ** max(failures - 1, 0))


def _attempt(url: str, part: Path, size: int | None, timeout: float, show: bool) -> bool:
    """One request; returns whether everything it promised has come."""
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have > size:
        have = 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # the server sends the whole file whatever was asked for
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else size
        if total is not None and shutil.disk_usage(part.parent).free < total - have:
            raise DataError(f"{part.parent}: {(total - have) / 1e6:.0f} MB to come, the disk has not enough room")
        with open(part, "r+b" if have else "wb") as file, Progress(part.stem, total, "B", have, show) as bar:
            file.seek(have)
            for block in _blocks(answer):
                file.write(block)
                bar.add(len(block))
            return total is None or file.tell() >= total


def _blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while block := answer.read(BLOCK):
            yield block
    except OSError as error:  # told apart from what the disk does
        raise ConnectionError(error.strerror or str(error)) from error


def _verify(path: Path, md5: str | None, size: int | None, remedy: str) -> None:
    if size is not None and (has := path.stat().st_size) != size:
        raise DataError(f"{path}: {has:,} bytes, {size:,} expected; {remedy}")
    if md5 is None:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != md5:
        raise DataError(f"{path}: its md5 is {digest.hexdigest()}, {md5} expected; {remedy}")
