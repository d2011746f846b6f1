"""Downloads that survive broken connections: they resume where they stopped, and are verified at the end."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import stat
import time
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from minidl.data.web import announced, ask, blocks, file_name, shown
from minidl.errors import DataError, UsageError, printable
from minidl.storage.files import open_own
from minidl.storage.locks import lock
from minidl.text.console import warn
from minidl.text.progress import Progress

_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP answers worth another try
_WATCH = 1 << 24  # bytes after which the disk is looked at again
_RESERVE = 1 << 28  # bytes of it that stay free if the size isn't known
_DIGITS = {"md5": 32, "sha256": 64}


class _Unreachable(DataError):
    """The server can't be reached or doesn't have the file; another server may."""


def download(
    url: str | Sequence[str],
    folder: str | Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    retries: int = 5,
    pause: float = 2.0,
    timeout: float = 60.0,
    progress: bool = True,
) -> Path:
    """The file at `url`, saved in `folder` under its own name; returns its path.

    If the file is there already, it is verified and kept. Until it is complete, the bytes are in `<name>.part`, from
    which the next attempt or the next call continues. (Without a checksum, its name has a digest of the address: two
    addresses may have files of one name.) The file gets its name when its size (bytes) and checksums are right.

    url        one address, or several of the same file, tried one after the other
    retries    how many attempts may follow each other without any progress, after the first one
    pause      seconds before the first retry; doubled each time

    Raises UsageError for a URL that isn't http(s). Raises DataError if the server refuses, redirects to an
    unencrypted address or sends more than it should, if the connection stays broken, if the disk is full, or if the
    content is wrong (it is then removed).
    """
    urls = [url] if isinstance(url, str) else list(url)
    sums = {kind: _checksum(kind, text) for kind, text in (("md5", md5), ("sha256", sha256)) if text is not None}
    target = Path(folder).expanduser() / file_name(urls[0])
    digest = "" if sums else "." + hashlib.sha256(urls[0].encode()).hexdigest()[:8]
    part = target.with_name(f"{target.name}{digest}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_downloader(target.parent):
            if target.exists():
                _verify(target, sums, size, "it was there already: remove it to download it")
                return target
            for number, address in enumerate(urls, 1):
                try:
                    _fetch(address, part, size, retries if number == len(urls) else 0, pause, timeout, progress)
                    break
                except _Unreachable as error:
                    if number == len(urls):
                        raise
                    warn(f"{error}; trying {shown(urls[number])}")
            try:
                _verify(part, sums, size, f"what {shown(address)} sent was removed; try again, or give another --url")
            except DataError:
                part.unlink()
                raise
            with _open_part(part) as file:
                os.fsync(file.fileno())
            os.replace(part, target)
    except OSError as error:
        raise DataError(f"{target}: can't be written ({error.strerror or error})") from error
    return target


@contextmanager
def _only_downloader(folder: Path) -> Iterator[None]:
    """Inside, no other process downloads into `folder`, if the file system has locks for folders."""
    descriptor = None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        if not lock(descriptor):
            warn(f"another process is downloading into {folder}: waiting for it")
            lock(descriptor, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _checksum(kind: str, text: str) -> str:
    text = text.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS[kind]}}}", text):
        raise UsageError(f"{kind} {text!r}: it has {_DIGITS[kind]} digits from 0 to 9 and a to f")
    return text


def _fetch(url: str, part: Path, size: int | None, retries: int, pause: float, timeout: float, show: bool) -> None:
    """Adds to `part` until it is complete, as far as the server or `size` says."""
    failures = 0
    while True:
        before = _have(part)
        if size is not None and before == size:
            return
        try:
            if _attempt(url, part, size, timeout, show):
                return
            reason, lasting = "the connection was cut", False
        except urllib.error.HTTPError as error:
            reason, lasting = f"the server answers {error.code} {error.reason}", error.code not in _PASSING
            if error.code == 416 and before:  # a .part that is longer than the file: start over
                part.unlink()
                lasting = False
            elif lasting:
                reason += "; try another --url"
        except urllib.error.URLError as error:
            reason = str(getattr(error.reason, "strerror", None) or error.reason)
            lasting = isinstance(error.reason, ssl.SSLCertVerificationError)
        except (http.client.HTTPException, ConnectionError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            lasting = isinstance(error, (http.client.InvalidURL, ValueError))  # a host's name that can't be one
        reason = printable(reason[:200])
        if lasting:
            raise _Unreachable(f"{shown(url)}: {reason}")
        failures = 0 if _have(part) > before else failures + 1
        if failures > retries:
            kept = f"; what has come is kept in {part}: start again to continue" if _have(part) else ""
            raise _Unreachable(f"{shown(url)}: {reason}{kept}")
        time.sleep(pause * 2 ** max(failures - 1, 0))


def _attempt(url: str, part: Path, size: int | None, timeout: float, show: bool) -> bool:
    """One request; returns whether all bytes that it promised have come."""
    have = _have(part)
    if size is not None and have > size:
        have = 0
    with ask(url, have, timeout) as answer:
        have, total = announced(answer, url, have)
        if size is not None and total is not None and total > size:
            raise DataError(
                f"{shown(url)}: the server announces {total:,} bytes, {size:,} expected; try another --url"
            )
        most = total if size is None else size
        looked = -_WATCH
        with _open_part(part) as file, Progress(part.stem, total or size, "B", have, show) as bar:
            file.truncate(have)
            file.seek(have)
            for block in blocks(answer):
                if most is not None and have + len(block) > most:
                    file.truncate(0)
                    raise DataError(
                        f"{shown(url)}: the server sends more than {most:,} bytes; what it sent was removed"
                    )
                if have - looked >= _WATCH:
                    _check_room(part.parent, most, have)
                    looked = have
                file.write(block)
                have += len(block)
                bar.add(len(block))
            return most is None or have >= (total or most)


def _check_room(folder: Path, most: int | None, have: int) -> None:
    free = shutil.disk_usage(folder).free
    if most is None and free < _RESERVE:
        raise DataError(f"{folder}: {free / 1e6:.0f} MB are free, and the size of the file isn't known; make room")
    if most is not None and free < most - have:
        raise DataError(f"{folder}: {(most - have) / 1e6:.0f} MB are left to download, more than the disk holds")


def _have(part: Path) -> int:
    """How many bytes of the file are on the disk already."""
    return os.lstat(part).st_size if os.path.lexists(part) else 0


def _open_part(part: Path) -> BinaryIO:
    """Opens the file `part`, making it if necessary; DataError if a link or a pipe is in its place."""
    if os.path.lexists(part):
        status = os.lstat(part)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise DataError(f"{part}: a link, or no file at all: remove it, or download into another folder")
    return os.fdopen(open_own(part, os.O_RDWR | getattr(os, "O_BINARY", 0)), "r+b")


def _verify(path: Path, sums: dict[str, str], size: int | None, remedy: str) -> None:
    if not path.is_file():
        raise DataError(f"{path}: not a file; {remedy}")
    if size is not None and (has := path.stat().st_size) != size:
        raise DataError(f"{path}: {has:,} bytes, {size:,} expected; {remedy}")
    for kind, expected in sums.items():
        digest = hashlib.new(kind, usedforsecurity=False)
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != expected:
            raise DataError(f"{path}: its {kind} is {digest.hexdigest()}, {expected} expected; {remedy}")
