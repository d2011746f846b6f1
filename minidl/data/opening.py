"""Opens a data set. A folder, a zip and a tar give the same result: files that are read by relative name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from minidl.data.archives import open_archive
from minidl.data.layout import belongs, find_root
from minidl.data.limits import limits_of
from minidl.data.reading import read_regular
from minidl.data.source import BROKEN, Source, reason
from minidl.data.walk import Walk, leaves, walk
from minidl.errors import DataError
from minidl.text.calls import call


def open_source(path: str | Path) -> Source:
    """The data set at `path`: a folder, a .zip, or a .tar (also compressed). It may be in a folder inside.

    Raises DataError if there is nothing, no data set, or more than one; for a broken archive; and for an entry that
    would leave the folder.
    """
    path = existing(path)
    if path.is_dir():
        root = _root(path)
        found = _walk(root)
        files: dict[str, object] = {name: f"{root}{os.sep}{name}" for name in found.files} | found.special
        return Source(f"{root}{os.sep}", files, _read_file, found.folders, found.refused, limits_of(root))
    try:
        archive = open_archive(path)
    except BROKEN as error:
        kinds = ".zip, .tar, .tar.gz, .tar.bz2 or .tar.xz"
        raise DataError(f"{path}: not a readable {kinds} archive ({reason(error)})") from error
    names = archive.files.keys() | archive.folders
    inner = [tuple(name.split("/")) for name in names if name.count("/") == 1]
    root = find_root(str(path), [name for name in names if "/" not in name], lambda: inner)
    start = f"{root}/" if root else ""

    def inside(names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields (name, name relative to the root) for every name that belongs to the data set."""
        for name in names:
            if name.startswith(start) and belongs(rest := name[len(start) :]):
                yield name, rest

    files = {rest: archive.files[name] for name, rest in inside(archive.files)}
    folders = {rest for _, rest in inside(archive.folders)}
    return Source(f"{path}: entry ", files, archive.reader, folders, limits=archive.limits)


def stamp(path: str | Path) -> str:
    """A text that changes when the data set at `path` changes: see `walk`; of an archive, its size and times."""
    path = existing(path)
    if path.is_dir():
        root = _root(path)
        return f"{root.relative_to(path)} {_walk(root).stamp}"
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def existing(path: str | Path) -> Path:
    """`path` as an absolute path with links followed; DataError if nothing readable is there."""
    path = Path(os.path.realpath(os.path.expanduser(path)))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"{path}: no such data set; `{call('download')}` fetches Tiny ImageNet") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read ({reason(error)})") from error
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise DataError(f"{path}: neither a folder nor an archive")
    return path


def _root(path: Path) -> Path:
    """The folder `path`, or the folder in it that contains the data set."""
    refused: list[DataError] = []

    def inner() -> Iterator[tuple[str, str]]:
        refused.clear()
        for entry in entries:
            try:
                yield from ((entry.name, name) for name in (os.listdir(entry.path) if entry.is_dir() else ()))
            except OSError as error:
                refused.append(DataError(f"{entry.path}: can't be listed ({reason(error)})"))

    try:
        with os.scandir(path) as listed:
            entries = list(listed)
    except OSError as error:
        raise DataError(f"{path}: can't be listed ({reason(error)})") from error
    try:
        root = path / find_root(str(path), [entry.name for entry in entries], inner)
    except DataError as error:
        raise (refused or [error])[0] from None
    if (why := leaves(path, str(root))) is not None:
        raise DataError(f"{root}: {why}; or give its own path")
    return root


def _walk(root: Path) -> Walk:
    try:
        return walk(root)
    except OSError as error:
        raise DataError(f"{root}: can't be listed ({reason(error)})") from error


def _read_file(place: str | OSError, most: int) -> bytes:
    if isinstance(place, OSError):
        raise place
    return read_regular(place, most)
