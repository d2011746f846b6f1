"""Zip and tar archives, read in place: what is in them by name, and how to read one entry.

Archives are never extracted: an entry that would leave the folder is refused all the same, because it says that
the archive is not what it claims to be.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from minidl.data.layout import is_junk
from minidl.errors import DataError

# Formats without random access: their first bytes, and what unpacks them.
_PACKERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


@dataclass
class Archive:
    """The files and folders of an archive by name ("pets/train/cat/1.jpg"), and how to read a file."""

    files: dict[str, object]
    folders: set[str]
    reader: Callable[[object], bytes]


def open_archive(path: Path) -> Archive:
    """The zip or tar archive at `path`, the latter as it is or packed by gzip, bzip2 or xz.

    Raises DataError for an entry that would leave the folder, and whatever the standard library raises for what is
    no archive.
    """
    return _open_zip(path) if zipfile.is_zipfile(path) else _open_tar(path)


def _open_zip(path: Path) -> Archive:
    opened = zipfile.ZipFile(path)
    archive = Archive({}, set(), opened.read)
    for info in opened.infolist():
        raw = info.orig_filename
        name = _checked(path, raw, link=stat.S_ISLNK(info.external_attr >> 16))
        name = _decoded(name.replace("\\", "/"), info)  # some programs on Windows write backslashes
        _add(archive, name, info, folder=name.endswith("/"))
    return archive


def _decoded(name: str, info: zipfile.ZipInfo) -> str:
    """`name`; read as UTF-8 where the archive doesn't say that it is (macOS) and zipfile took it for cp437."""
    try:
        return name if info.flag_bits & 0x800 else name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _open_tar(path: Path) -> Archive:
    file = open(path, "rb")  # noqa: SIM115 (lives as long as the archive)
    start = file.read(6)
    for magic, unpacker in _PACKERS.items():
        if start.startswith(magic):
            plain = tempfile.TemporaryFile()  # noqa: SIM115
            with file, unpacker(path) as packed:
                shutil.copyfileobj(packed, plain, 1 << 20)
            file = plain
    file.seek(0)
    lock = Lock()

    def read(place: tuple[int, int]) -> bytes:
        with lock:
            file.seek(place[0])
            return file.read(place[1])

    archive = Archive({}, set(), read)
    for member in tarfile.open(fileobj=file, mode="r:"):  # noqa: SIM115
        name = _checked(path, member.name, link=not (member.isreg() or member.isdir()))
        _add(archive, name, (member.offset_data, member.size), folder=member.isdir())
    return archive


def _add(archive: Archive, name: str, place: object, folder: bool) -> None:
    """Adds an entry and the folders that it lies in, if it isn't junk."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if any(map(is_junk, parts)) or not parts:
        return
    archive.folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if folder:
        archive.folders.add("/".join(parts))
    else:
        archive.files["/".join(parts)] = place


def _checked(path: Path, name: str, link: bool) -> str:
    parts = re.split(r"[/\\]", name)
    link = link and not any(map(is_junk, parts))  # one in .git/, say, is not read
    if link or ".." in parts or parts[0] == "" or re.match("[A-Za-z]:", name) or "\0" in name:
        raise DataError(f"{path}: refused, because entry {ascii(name)} is a link or leaves the archive's folder")
    return name
