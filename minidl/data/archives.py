"""Zip and tar archives, read in place: the names in them, and how to read one entry.

Archives are never extracted. An entry that would leave the folder is refused all the same, because the archive is
then not what it claims to be. Everything that is read, unpacked or counted has a limit (see limits.py).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from minidl.data.entries import Archive
from minidl.data.limits import UNLIMITED, at_most, limits_of, too_much
from minidl.errors import DataError

# Formats without random access: their first bytes, and what unpacks them.
_PACKERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the methods that zipfile unpacks up to a given size
_PIECE = 1 << 20  # bytes copied at a time
_ROOM = 1_000_000_000  # bytes that unpacking leaves on the disk, or half of what is free if that is less
_HEADERS = 64  # global ones of a tar; programs write one at most


def open_archive(path: Path) -> Archive:
    """The archive at `path`: a zip, or a tar that may be compressed with gzip, bzip2 or xz.

    Raises DataError for an entry that would leave the folder or exceeds a limit. If the file is not an archive, the
    errors are those of the standard library.
    """
    return _open_zip(path) if zipfile.is_zipfile(path) else _open_tar(path)


class _Metered:
    """A file that gives at most `left` bytes, then raises: the standard library reads lists of any length at once."""

    def __init__(self, file: Any, path: Path, left: int, what: str) -> None:
        self.file, self.path, self.left, self.what = file, path, left, what
        self.seek, self.tell = file.seek, file.tell  # at hand: a tar asks for them at each entry

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(min(size if size >= 0 else _PIECE, self.left + 1))
        if len(content) > self.left:
            raise DataError(f"{self.path}: {self.what}; if the data are your own, see MINIDL_TRUST in docs/data.md")
        self.left -= len(content)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _open_zip(path: Path) -> Archive:
    limits = limits_of(path)
    what = f"its list of entries has more than {limits.listing:,} bytes"
    file = _Metered(open(path, "rb"), path, limits.listing, what)  # noqa: SIM115
    opened = zipfile.ZipFile(file)  # noqa: SIM115 (lives as long as the archive)
    file.left = sys.maxsize

    def read(info: zipfile.ZipInfo, most: int) -> bytes:
        if info.file_size > most:
            raise OSError(too_much(info.file_size, most, "bytes"))
        with opened.open(info) as entry:
            return entry.read(info.file_size + 1)

    archive = Archive(path, limits, reader=read)
    for info in opened.infolist():
        name = archive.checked(info.orig_filename, link=stat.S_ISLNK(info.external_attr >> 16))
        name = _decoded(name.replace("\\", "/"), info)  # some programs on Windows write backslashes
        if (known := archive.add(name, name.endswith("/"), info.file_size)) is not None:
            archive.files[known] = info
            if info.compress_type not in _BOUNDED and limits is not UNLIMITED:
                raise DataError(
                    f"{path}: compressed by an unusual method, so its size has no limit; pack it again with deflate"
                )
    return archive


def _decoded(name: str, info: zipfile.ZipInfo) -> str:
    """`name`, decoded as UTF-8 if zipfile took it for cp437 because the archive (from macOS) doesn't say UTF-8."""
    try:
        return name if info.flag_bits & 0x800 else name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _open_tar(path: Path) -> Archive:
    """Reads all entries of a tar. While it does, it copies those that belong to a data set into a nameless file."""
    limits = limits_of(path)
    with open(path, "rb") as file:
        start = file.read(_PIECE)
    if start.startswith(b"\xfd7zXZ"):  # asks for up to 4 GB of memory; xz -9 for 65 MB
        lzma.LZMADecompressor(memlimit=limits.file).decompress(start, 1)
    unpacker = next((unpacker for magic, unpacker in _PACKERS.items() if start.startswith(magic)), None)
    source: Any = io.BufferedReader(unpacker(path, "rb"), _PIECE) if unpacker else open(path, "rb")  # noqa: SIM115
    stored = tempfile.TemporaryFile() if unpacker else source  # noqa: SIM115 (lives as long as the archive)
    lock = Lock()

    def read(place: tuple[int, int], most: int) -> bytes:
        if place[1] > most:
            raise OSError(too_much(place[1], most, "bytes"))
        with lock:
            stored.seek(place[0])
            return stored.read(place[1])

    archive = Archive(path, limits, reader=read)
    file = _Metered(source, path, limits.header, f"an entry's header has more than {limits.header:,} bytes")
    tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115
    room = _room() if unpacker else 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # it would remember them all
        at_most(path, len(tar.pax_headers), _HEADERS, "global headers")
        name = archive.checked(member.name, link=not (member.isreg() or member.isdir()))
        if member.issparse() or member.size < 0:
            raise DataError(f"{path}: refused, because entry {ascii(name)} is a sparse file")
        known = archive.add(name, member.isdir(), member.size)
        if known is not None and unpacker:
            room -= member.size
            if room < 0:
                raise DataError(
                    f"{path}: no room to unpack it in {tempfile.gettempdir()}; name another folder in TMPDIR"
                )
            archive.files[known] = (stored.tell(), member.size)
            source.seek(member.offset_data)
            _copy(source, stored, member.size)
        elif known is not None:
            archive.files[known] = (member.offset_data, member.size)
        file.left = limits.header
    source.seek(tar.offset)
    if source.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes a damaged header for the end
        raise EOFError("cut short or damaged: the zeros at its end are missing")
    if unpacker:
        stored.flush()
        with source:
            source.read(_PIECE)  # up to the checksum, after the zeros at the end
    return archive


def _room() -> int:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return max(free // 2, free - _ROOM)


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size > 0:
        content = source.read(min(size, _PIECE))
        if not content:
            raise EOFError("it ends within an entry")
        target.write(content)
        size -= len(content)
