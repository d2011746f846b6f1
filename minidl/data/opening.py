"""Opening a data set: a folder, a zip archive or a tar archive, all read by relative name.

Archives are never extracted: an entry that would leave the folder is refused all the same, because it says that
the archive is not what it claims to be.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from threading import Lock

from minidl.data.source import BROKEN, Source, reason, stamp
from minidl.errors import DataError

_MARKS = ("wnids.txt", "train", "val")  # one of them stands at the root of every data set
_JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")


def open_source(path: str | Path) -> Source:
    """The data set at `path`: a folder, a .zip, .tar or .tar.gz; it may lie one folder deeper than that.

    Raises DataError if there is nothing, no data set, a broken archive or an entry that would leave the folder.
    """
    path = Path(path).expanduser().resolve()
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise DataError(f"{path}: no such data set; `train.py download` fetches Tiny ImageNet")
    try:
        if zipfile.is_zipfile(path):
            return _open_zip(path)
        return _open_tar(path)
    except BROKEN as error:
        raise DataError(f"{path}: not a readable .zip, .tar or .tar.gz archive ({reason(error)})") from error


def _open_folder(path: Path) -> Source:
    def has_mark(folder: Path) -> bool:
        return any((folder / mark).exists() for mark in _MARKS)

    if not has_mark(path):
        inner = [p for p in sorted(path.iterdir()) if p.is_dir() and has_mark(p)]
        if len(inner) != 1:
            raise DataError(f"{path}: no data set here: neither wnids.txt nor train/<class>/ folders")
        path = inner[0]
    files: dict[str, object] = {}
    folders = set()
    watched = {str(path): stamp(path)}

    def walk(folder: str, depth: int) -> None:
        with os.scandir(path / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if _is_junk(name) or (depth == 0 and entry.is_dir() and name not in ("train", "val", "test")):
                    continue
                if not entry.is_dir():
                    files[name] = entry.path
                    if name.endswith(".txt"):
                        watched[entry.path] = stamp(entry.path)
                elif depth < 3:  # train/<wnid>/images is the deepest; also ends loops of links
                    folders.add(name)
                    watched[entry.path] = stamp(entry.path)
                    walk(name, depth + 1)

    try:
        walk("", 0)
    except OSError as error:
        raise DataError(f"{error.filename}: can't be listed ({error.strerror})") from error
    return Source(f"{path}{os.sep}", files, _read_file, folders, watched)


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _open_zip(path: Path) -> Source:
    archive = zipfile.ZipFile(path)
    entries: dict[str, object] = {}
    for info in archive.infolist():
        _refuse_escape(path, info.orig_filename, link=stat.S_ISLNK(info.external_attr >> 16))
        entries[info.filename] = info
    return _from_entries(path, entries, archive.read)


def _open_tar(path: Path) -> Source:
    file = open(path, "rb")  # noqa: SIM115 (lives as long as the source)
    if file.read(2) == b"\x1f\x8b":  # gzip has no random access, so unpack into a file without a name
        plain = tempfile.TemporaryFile()  # noqa: SIM115
        with file, gzip.open(path) as packed:
            shutil.copyfileobj(packed, plain, 1 << 20)
        file = plain
    file.seek(0)
    entries: dict[str, object] = {}
    for member in tarfile.open(fileobj=file, mode="r:"):  # noqa: SIM115
        _refuse_escape(path, member.name, link=not (member.isreg() or member.isdir()))
        entries[member.name + "/" * member.isdir()] = (member.offset_data, member.size)
    lock = Lock()

    def read(place: tuple[int, int]) -> bytes:
        with lock:
            file.seek(place[0])
            return file.read(place[1])

    return _from_entries(path, entries, read)


def _from_entries(path: Path, entries: dict[str, object], reader: Callable[[object], bytes]) -> Source:
    """A Source of archive entries, whose folders end in "/"; the data set's root may be a folder in the archive."""
    paths = {PurePosixPath(name): name for name in entries}
    roots = [p.parts[:i] for p in paths for i, part in enumerate(p.parts[:2]) if part in _MARKS]
    if not roots:
        raise DataError(f"{path}: no data set inside: neither wnids.txt nor train/<class>/ folders")
    depth = len(root := min(roots, key=len))
    inside = {"/".join(p.parts[depth:]): name for p, name in paths.items() if p.parts[:depth] == root}
    files = {n: entries[entry] for n, entry in inside.items() if not entry.endswith("/") and not _is_junk(n)}
    folders = {n for n, entry in inside.items() if entry.endswith("/")}
    folders |= {str(parent) for n in files for parent in PurePosixPath(n).parents}
    return Source(f"{path}: entry ", files, reader, folders, {str(path): stamp(path)})


def _refuse_escape(path: Path, name: str, link: bool) -> None:
    parts = re.split(r"[/\\]", name)
    if link or ".." in parts or parts[0] == "" or re.match("[A-Za-z]:", name) or "\0" in name:
        raise DataError(f"{path}: refused, because entry {ascii(name)} is a link or leaves the archive's folder")


def _is_junk(name: str) -> bool:
    return any(part.startswith(".") or part in _JUNK for part in name.split("/"))
